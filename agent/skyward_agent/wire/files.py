"""A file that a call takes along: named by its content, fetched once by each node, read there where it lies."""

from __future__ import annotations

import os
from contextvars import ContextVar
from pathlib import Path

from skyward_agent.wire.payload import BlobRef
from skyward_agent.wire.records import record

BLOBS_VARIABLE = "SKYWARD_BLOBS"
"""Where the node keeps its blobs; set in each process that runs functions."""

_taken: ContextVar[dict[BlobRef, None] | None] = ContextVar("taken", default=None)


@record(frozen=True, slots=True)
class File:
    """What `pool.put` gives. As an argument it is, on the node, a path: `open(file)` works. The file there is shared by all
    tasks and must not be changed."""

    name: str
    digest: str
    size: int

    def __fspath__(self) -> str:
        directory = os.environ.get(BLOBS_VARIABLE)
        if not directory:
            raise ValueError(f"{self.name}: a file that was put is read inside the function, on the node")
        return str(Path(directory) / self.digest)

    @property
    def path(self) -> Path:
        return Path(self.__fspath__())

    def __reduce__(self) -> tuple[type[File], tuple[str, str, int]]:
        taken = _taken.get()
        if taken is not None:
            taken[BlobRef(self.digest, self.size)] = None
        return (File, (self.name, self.digest, self.size))


class taken_along:
    """Meanwhile, files that are pickled in this thread are noted."""

    def __init__(self) -> None:
        self.files: dict[BlobRef, None] = {}

    def __enter__(self) -> dict[BlobRef, None]:
        self._token = _taken.set(self.files)
        return self.files

    def __exit__(self, *_: object) -> None:
        _taken.reset(self._token)
