"""What people allowed: a held deletion to go on, an unfinished Git operation to be overlooked.

It comes as an annotation of the Source, which `skyctl approve` and `kubectl annotate` set, or as a hash in a file of
the directory. An annotation is dropped as soon as what it names is no longer there, so that it never allows anything
else later.
"""

from __future__ import annotations

from skyward.api import Held, Source
from skyward.api.meta import APPROVED, READ_DESPITE


def approved(source: Source | None, file: str) -> frozenset[str]:
    """Hashes, of the annotation and of the approval file's text."""
    said = source.metadata.annotations.get(APPROVED, "") if source is not None else ""
    return frozenset((*said.split(), *file.split()))


def read_despite(source: Source | None) -> str:
    """The sign of the Git operation in spite of which the files are read; empty when there is none."""
    return source.metadata.annotations.get(READ_DESPITE, "") if source is not None else ""


def has_approval(source: Source) -> bool:
    return bool(source.metadata.annotations.keys() & {APPROVED, READ_DESPITE})


def without_stale(source: Source, held: Held | None, unfinished: str) -> Source:
    current = {APPROVED: held.hash if held is not None else "", READ_DESPITE: unfinished}
    kept = {
        name: value
        for name, value in source.metadata.annotations.items()
        if name not in current or (value and value == current[name])
    }
    return source.replace(metadata=source.metadata.replace(annotations=kept))
