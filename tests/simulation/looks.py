"""What may be concluded from a manifest directory: only what was seen there, whole, each time that an operator looked.

Nobody can know what happened between two looks. So evidence is counted in looks and not by the clock of the directory: a pool may
be taken for deleted when the newest look and one long enough before it both found a whole directory without the pool, and no
look between them found anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from skyward.contracts import FileInfo, Files


class WatchedFiles:
    """Implements `contracts.Files`: as they are, and every look at the directory is told."""

    def __init__(self, files: Files, root: Path, looked: Callable[[], None]) -> None:
        self._files = files
        self._root = root
        self._looked = looked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def info(self, path: Path) -> FileInfo:
        if path == self._root:
            self._looked()
        return self._files.info(path)


class WrittenFiles:
    """Implements `contracts.Files`: as they are, and what an operator does to a manifest is told."""

    def __init__(self, files: Files, written: Callable[[Path, bytes | None], None]) -> None:
        self._files = files
        self._written = written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        self._files.write(path, data, mode)
        if path.suffix == ".yaml":
            self._written(path, data)

    def remove(self, path: Path) -> None:
        self._files.remove(path)
        if path.suffix == ".yaml":
            self._written(path, None)


class Looks:
    """Of one process. A new one begins with nothing."""

    def __init__(self) -> None:
        self._missing_since: dict[str, float] = {}
        self._newest = 0.0

    def took(self, missing: Collection[str], now: float) -> None:
        """A whole directory lacked exactly these names; none at all where it was not whole."""
        self._missing_since = {name: self._missing_since.get(name, now) for name in missing}
        self._newest = now

    def missed_for(self, name: str) -> float | None:
        """How long looks have found it missing; None when the newest did not."""
        since = self._missing_since.get(name)
        return None if since is None else self._newest - since
