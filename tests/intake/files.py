"""A directory tree in memory, with links, pipes, faults, and a watcher that can fall silent, end or break."""

from __future__ import annotations

import asyncio
import errno
import posixpath
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from skyward.contracts import FileInfo

_MAX_LINKS = 20


class Watching(StrEnum):
    ALIVE = "alive"
    SILENT = "silent"
    ENDS = "ends"
    BREAKS = "breaks"


@dataclass(frozen=True)
class Link:
    target: str


class Pipe:
    pass


class MemoryFiles:
    """Directories exist when something is in them or when they were made."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes | Link | Pipe] = {}
        self.directories: set[str] = {"/"}
        self.faults: dict[str, OSError] = {}
        """Raised by every access to this path."""
        self.before_read: Callable[[str], None] | None = None
        self.before_write: Callable[[str], None] | None = None
        self.is_read_only = False
        self.watching = Watching.ALIVE
        self.watches = 0
        self.writes = 0
        self.walks = 0
        self.reads = 0
        self._has_links = False
        """Some were made: from then on every path is looked through for them."""
        self._inodes: dict[str, int] = {}
        self._next_inode = 1
        self._changed: list[asyncio.Event] = []

    # --- what a user does ---

    def make_directory(self, path: str) -> None:
        while path not in self.directories:
            self.directories.add(path)
            self._renumber(path)
            path = posixpath.dirname(path)

    def put(self, path: str, content: str | bytes | Link | Pipe) -> None:
        self.make_directory(posixpath.dirname(path))
        self.entries[path] = content.encode() if isinstance(content, str) else content
        self._has_links = self._has_links or isinstance(content, Link)
        self._renumber(path)
        self._wake()

    def take_away(self, path: str) -> None:
        """A file, or a directory with all that is in it."""
        for name in [
            each for each in (*self.entries, *self.directories) if each == path or each.startswith(f"{path}/")
        ]:
            self.entries.pop(name, None)
            self.directories.discard(name)
        self._wake()

    def text(self, path: str) -> str:
        content = self.entries[path]
        assert isinstance(content, bytes)
        return content.decode()

    # --- the contract ---

    def info(self, path: Path) -> FileInfo:
        real = self._reach(str(path))
        content = self.entries.get(real)
        return FileInfo(
            device=1,
            inode=self._inodes[real],
            size=len(content) if isinstance(content, bytes) else 0,
            modified_ns=self._inodes[real],
            changed_ns=self._inodes[real],
            is_regular=isinstance(content, bytes),
            is_directory=real in self.directories,
        )

    def walk(self, root: Path) -> Sequence[Path]:
        self.walks += 1
        real = self._reach(str(root))
        if real not in self.directories:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(root))
        for name in self.directories:
            if name.startswith(f"{real}/"):
                self._check(name)
        named = {name for name in self.directories if name.endswith((".yaml", ".yml"))}
        below = [name.removeprefix(f"{real}/") for name in (*self.entries, *named) if name.startswith(f"{real}/")]
        return sorted(root / name for name in below if not any(part.startswith(".") for part in name.split("/")))

    def resolve(self, path: Path) -> Path:
        return Path(self._follow(str(path)))

    def read(self, path: Path, limit: int) -> bytes:
        self.reads += 1
        if self.before_read is not None:
            self.before_read(str(path))
        content = self.entries.get(self._reach(str(path)))
        if not isinstance(content, bytes):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return content[: limit + 1]

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        if self.before_write is not None:
            self.before_write(str(path))
        if self.is_read_only:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        self._check(str(path))
        self.writes += 1
        self.put(str(path), data)

    def remove(self, path: Path) -> None:
        if self.is_read_only:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        self.entries.pop(str(path), None)
        self._wake()

    def sweep(self, root: Path) -> Sequence[Path]:
        self._reach(str(root))
        left = [
            name for name in self.entries if posixpath.basename(name).startswith(".skyward-") and name[-1].isdigit()
        ]
        for name in left:
            del self.entries[name]
        return [Path(name) for name in left]

    async def watch(self, root: Path) -> AsyncIterator[None]:
        self.watches += 1
        if self.watching is Watching.BREAKS:
            raise OSError(errno.ENOSPC, "No space left on device: inotify watches", str(root))
        if self.watching is Watching.ENDS:
            return
        changed = asyncio.Event()
        self._changed.append(changed)
        while True:
            await changed.wait()
            changed.clear()
            if self.watching is Watching.ALIVE:
                yield

    # --- inside ---

    def _reach(self, path: str) -> str:
        real = self._follow(path)
        self._check(path)
        self._check(real)
        if real not in self.entries and real not in self.directories:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if isinstance(self.entries.get(real), Link):
            raise OSError(errno.ELOOP, "Too many levels of symbolic links", path)
        return real

    def _follow(self, path: str) -> str:
        if not self._has_links:
            return path
        for _ in range(_MAX_LINKS):
            parts = path.split("/")
            prefixes = ["/".join(parts[:count]) for count in range(2, len(parts) + 1)]
            link = next((name for name in prefixes if isinstance(self.entries.get(name), Link)), None)
            if link is None:
                return path
            target = self.entries[link]
            assert isinstance(target, Link)
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), target.target) + path[len(link) :])
        return path

    def _check(self, path: str) -> None:
        if path in self.faults:
            raise self.faults[path]

    def _renumber(self, path: str) -> None:
        self._inodes[path] = self._next_inode
        self._next_inode += 1

    def _wake(self) -> None:
        for changed in self._changed:
            changed.set()
