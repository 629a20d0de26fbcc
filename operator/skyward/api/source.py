"""Source: a manifest directory as an object, so that a file that was never accepted shows somewhere."""

from __future__ import annotations

from typing import ClassVar, Literal

from skyward.api.base import Time, Word
from skyward.api.conditions import Condition
from skyward.api.held import Held
from skyward.api.meta import Object


class Problem(Word):
    """One thing wrong with one manifest, in words a user can act on."""

    file: str
    """Relative to the source."""
    line: int
    """From 1; 0 when the file as a whole is meant."""
    field: str
    """Path in the document, like `spec.nodes`; empty when there is none."""
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class SourceSpec(Word):
    path: str


class SourceStatus(Word):
    revision: str = ""
    pools: int = 0
    last_read: Time | None = None
    rejected: tuple[Problem, ...] = ()
    held: Held | None = None
    """What of the newest snapshot is held back; None when nothing is."""
    unfinished: str = ""
    """The sign of a Git operation that is not finished, like `index.lock`; empty when there is none."""
    adoptable: tuple[str, ...] = ()
    """What `skyctl adopt` may name: hashes of instances that are ours by their mark and unknown to the records."""
    conditions: tuple[Condition, ...] = ()


class Source(Object):
    KIND: ClassVar[str] = "Source"
    PLURAL: ClassVar[str] = "sources"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("src",)

    kind: Literal["Source"] = "Source"
    spec: SourceSpec
    status: SourceStatus = SourceStatus()
