"""Files that calls take along: hashed when they are named, sent when the operator lacks them, laid on the node once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from skyward.client.payloads import FileBlob
from skyward.errors import UserError
from skyward_agent.wire.files import File
from skyward_agent.wire.parts import hash_file
from skyward_agent.wire.payload import BlobRef

Named = Mapping[str, str | os.PathLike[str] | File] | Iterable[str | os.PathLike[str] | File]
"""Files by the path that they get in the task's directory, or just files, which keep their names."""
Placed = tuple[tuple[str, File], ...]


class Library:
    """The files of one session. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[Path, int, int, int], File] = {}
        self._sources: dict[BlobRef, FileBlob] = {}

    def put(self, path: str | os.PathLike[str]) -> File:
        """A reference to the file as it is now. Reads all of it, the first time. Raises UserError when it cannot be read."""
        place = Path(path).expanduser().absolute()
        try:
            status = place.stat()
            if not place.is_file():
                raise UserError(f"{path}: not a file: put files one by one, or as an archive")
            key = (place, status.st_ino, status.st_size, status.st_mtime_ns)
            with self._lock:
                known = self._known.get(key)
            if known is None:
                digest, size = hash_file(place.resolve())
                known = File(place.name, digest, size)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
        with self._lock:
            self._known[key] = known
            ref = BlobRef(known.digest, known.size)
            self._sources[ref] = FileBlob(place, ref)
        return known

    def placed(self, files: Named) -> Placed:
        """Raises UserError for what is no file, and for a place outside the task's directory."""
        if isinstance(files, str | os.PathLike | File):
            files = (files,)
        pairs = files.items() if isinstance(files, Mapping) else [(_name_of(one), one) for one in files]
        found = {_checked(name): one if isinstance(one, File) else self.put(one) for name, one in pairs}
        return tuple(found.items())

    def sources(self, references: Iterable[BlobRef]) -> tuple[FileBlob, ...]:
        """Where those are that this session has put. Others the operator has, or the call fails."""
        with self._lock:
            return tuple(self._sources[ref] for ref in references if ref in self._sources)


def _name_of(file: str | os.PathLike[str] | File) -> str:
    return file.name if isinstance(file, File) else Path(file).name


def _checked(name: str) -> str:
    place = PurePosixPath(name)
    if not name or place.is_absolute() or ".." in place.parts or "\0" in name or place == PurePosixPath("."):
        raise UserError(f"files: {name!r} is no place below the task's directory: use a relative path")
    return str(place)
