"""A blob that arrives in a file: each byte written once and hashed once, on the way; whole, it gets its name, or none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

_READ_BYTES = 1024 * 1024
PACKING = "packing-"
"""Names of files that a process is at begin so; nobody else's business until they are blobs."""


class PartFile:
    """Not yet a blob. Made anew, or taken up where a cut or a crash left it: what is there is then hashed again, once. All of
    it blocks; one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self._hash = hashlib.sha256()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.received = 0
        while data := os.read(self._file, _READ_BYTES):
            self._hash.update(data)
            self.received += len(data)

    def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Raises OSError, and then the file is as it was."""
        try:
            for chunk in chunks:
                view = memoryview(chunk)
                offset = self.received
                while view:
                    written = os.pwrite(self._file, view, offset)
                    self._hash.update(view[:written])
                    view = view[written:]
                    offset += written
                    self.received = offset
        except OSError:
            os.ftruncate(self._file, self.received)
            raise

    def read(self, offset: int, count: int) -> bytes:
        return os.pread(self._file, min(count, self.received - offset), offset)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def keep(self, path: Path) -> None:
        """It is whole: give it its name."""
        os.fchmod(self._file, 0o400)
        self._path.replace(path)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        self.close()
        self._path.unlink(missing_ok=True)


def hash_file(path: Path) -> tuple[str, int]:
    """(sha256, size) of a regular file, symbolic links not followed. Blocks. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, os.fstat(file.fileno()).st_size


def write_blob(descriptor: int, pieces: Iterable[memoryview]) -> str:
    """Write these bytes into an empty file. Returns their sha256. Each is touched once while the processor has it at hand.
    Raises OSError."""
    digest = hashlib.sha256()
    for piece in pieces:
        for start in range(0, len(piece), _READ_BYTES):
            part = piece[start : start + _READ_BYTES]
            digest.update(part)
            while part:
                part = part[os.write(descriptor, part) :]
    return digest.hexdigest()


def hand_over(path: Path, shared: Path, name: str) -> bool:
    """Lay a file that never changes into the shared directory. False when it cannot be linked there."""
    try:
        os.link(path, shared / name)
    except OSError:
        return False
    return True


def sees(shared: str, proof: str) -> bool:
    """Whether this process has the operator's own shared directory before it, and may use it."""
    if not shared or not proof:
        return False
    try:
        return Path(shared, "proof").read_text() == proof and os.access(shared, os.R_OK | os.W_OK | os.X_OK)
    except (OSError, ValueError):
        return False
