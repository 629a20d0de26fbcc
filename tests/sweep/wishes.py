"""What the users of the stories write: the whole spec, and deletions through the API besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skyward.api import Json
from tests.intake.files import MemoryFiles
from tests.simulation.clock import SimClock
from tests.simulation.desire import Desire, Wish


@dataclass(frozen=True, slots=True)
class Written(Wish):
    """One manifest."""

    rollout: str = "{}"
    """In YAML's flow style, as all of these."""
    more: tuple[str, ...] = ()
    """Further lines of the spec."""
    annotations: tuple[tuple[str, str], ...] = ()

    def text(self, where: Json) -> str:
        marks = ", ".join(f'skyward.dev/{name}: "{value}"' for name, value in self.annotations)
        return (
            f"apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {{name: {self.name}, annotations: {{{marks}}}}}\n"
            f"spec:\n  nodes: {self.nodes}\n  provider: {where['provider']}\n  drainTimeout: 1m\n  rollout: {self.rollout}\n"
            f'  image: {{env: {{VERSION: "{self.version}"}}}}\n' + "".join(f"  {line}\n" for line in self.more)
        )


class StagedDesire(Desire):
    def __init__(self, files: MemoryFiles, clock: SimClock) -> None:
        super().__init__(files, clock, {"provider": "local"})
        self._moved: dict[str, str] = {}

    def path(self, name: str) -> str:
        return super().path(self._moved.get(name, name))

    def move(self, name: str, to: str) -> None:
        """The file gets another name; the pool keeps its own."""
        self._files.remove(Path(self.path(name)))
        self._moved[name] = to
        self.put(self.wishes[name])
