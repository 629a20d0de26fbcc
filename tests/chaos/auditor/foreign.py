"""What is not ours and looks like it: planted before the run, it must be there unharmed after it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.chaos.place import Record


class Foreign:
    """The conductor's `foreign` record names directories (with their machine's id) and processes."""

    def __init__(self, planted: Record) -> None:
        self._directories = {Path(text): _digest(Path(text)) for text in planted["directories"]}
        self._processes = {int(pid): _started(int(pid)) for pid in planted["processes"]}

    @property
    def machines(self) -> frozenset[str]:
        """Names in the provider's root that are no machines of ours."""
        return frozenset(path.name for path in self._directories)

    def harmed(self) -> list[str]:
        directories = [str(path) for path, digest in self._directories.items() if _digest(path) != digest]
        processes = [f"process {pid}" for pid, started in self._processes.items() if _started(pid) != started]
        return directories + processes


def _digest(directory: Path) -> str:
    """Of the whole tree; of one that does not exist, another."""
    digest = hashlib.sha256()
    for path in (directory, *sorted(directory.rglob("*"))):
        digest.update(f"{path} {path.exists()} {path.is_dir()}\n".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _started(pid: int) -> bytes:
    """Empty once it is dead, a zombie included."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return b""
    fields = text[text.rindex(b")") + 2 :].split()
    return b"" if fields[0] in b"ZX" else fields[19]
