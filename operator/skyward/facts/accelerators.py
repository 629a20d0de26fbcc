"""Accelerators as providers report them, under the one name that they have everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api.accelerators import MEMORY_GB, AcceleratorRequest, is_about, normalize


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What one machine has of them, all alike."""

    name: str
    """Family: `A100`, `H200`, `RTXPRO6000`; the provider's own word, folded, where nobody knows it."""
    count: int
    """Whole ones."""
    memory_gb: float = 0.0
    """Each, as it is sold where that is known; 0 where nobody says."""
    form: str = ""
    """SXM, PCIE, NVL or OAM; empty where nobody says."""
    is_known: bool = True

    @property
    def label(self) -> str:
        """As a manifest asks for it, with the memory where the family has several."""
        several = self.memory_gb and (not self.is_known or len(MEMORY_GB[self.name]) > 1)
        memory = f"-{self.memory_gb:g}GB" if several else ""
        return f"{self.name}{memory}:{self.count}"

    def is_asked_for(self, request: AcceleratorRequest) -> bool:
        """Exactly so many of this family; memory and form only where they are asked for. What a known family is not sold with
        has to be asked for by its memory."""
        wanted = request.name
        if (self.name, self.count) != (wanted.family, request.count):
            return False
        if wanted.memory_gb is None and not self.is_known and self.name in MEMORY_GB:
            return False
        if wanted.memory_gb is not None and not is_about(self.memory_gb, wanted.memory_gb):
            return False
        return not wanted.form or wanted.form == self.form


def identify(reported: str, count: int, memory_gb: float | None = None, form: str = "") -> Accelerator | None:
    """What a provider calls `reported`, so many in one machine, each with so much memory (of 1,024³ bytes). The count is that of
    a structured field, never read from a name; without a whole one there is none. Nothing is guessed: a family that nobody knows,
    and a memory that a known one is not sold with, stay what they are, and are not known."""
    name = normalize(reported)
    if count < 1 or not name.family:
        return None
    form = form or name.form
    told_gb = memory_gb or name.memory_gb or 0.0
    sold = MEMORY_GB.get(name.family, ())
    if not told_gb:
        return Accelerator(name.family, count, sold[0] if len(sold) == 1 else 0.0, form, bool(sold))
    fitting = [nominal for nominal in sold if is_about(told_gb, nominal)]
    if not fitting:
        return Accelerator(name.family, count, round(told_gb), form, is_known=False)
    return Accelerator(name.family, count, min(fitting, key=lambda nominal: abs(told_gb - nominal)), form)
