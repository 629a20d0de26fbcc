"""Steps and recipes as data."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to a node. Its script may be run again after being cut off anywhere."""

    id: str
    title: str
    script: str
    """Commands for `sh -e`, with the functions and variables of the runtime."""
    deadline_s: int
    unless: str = ""
    """Commands; the step is not needed when they succeed within a minute."""
    check: str = ""
    """Commands; the mark of an earlier run only counts while they succeed."""
    checkpoint: bool = False
    """While its mark counts, the steps before it count as done without being looked at."""
    always: bool = False
    """Leaves no mark: runs every time."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"{self.id!r} is no step id: use lower-case letters, digits and single dashes")

    @property
    def function(self) -> str:
        return self.id.replace("-", "_")


@dataclass(frozen=True, slots=True)
class Recipe:
    steps: tuple[Step, ...]
    script: str
    """POSIX shell; `sh bootstrap.sh RUN` runs it, where RUN is a word that its journal lines carry."""
    env_hash: str
    """Name of the cached Python environment."""


def chained_hashes(steps: tuple[Step, ...], seed: str) -> tuple[str, ...]:
    """One per step, over the step and everything before it: a changed step is done again together with all that follow."""
    hashes = []
    so_far = seed
    for step in steps:
        parts = (so_far, step.id, step.script, step.unless, step.check)
        so_far = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        hashes.append(so_far)
    return tuple(hashes)
