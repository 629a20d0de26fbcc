"""The operating system as the operator sees it: time, chance, files and processes. Everything else is built on these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Wall time, seconds since 1970: for what is stored and shown."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start: for durations within this process."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Ids(Protocol):
    def uid(self) -> str:
        """A fresh UUID, as text."""
        ...

    def suffix(self) -> str:
        """Five lower-case letters and digits, to make a name unique among its siblings."""
        ...

    def token(self) -> str:
        """256 unpredictable bits as URL-safe text: for credentials and attempt secrets."""
        ...

    def fraction(self) -> float:
        """A number in [0, 1): for jitter."""
        ...


@dataclass(frozen=True, slots=True)
class FileInfo:
    """Identity and change marks of a file or directory, symbolic links followed."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    """Of content, mode, owner or links: the system's own time, which no program sets."""
    is_regular: bool
    is_directory: bool


class Files(Protocol):
    """Small files, read and written whole. Every method may raise OSError."""

    def info(self, path: Path) -> FileInfo: ...

    def walk(self, root: Path) -> Sequence[Path]:
        """Every entry below a directory that is not itself a directory, sorted; hidden entries and what lies below hidden
        directories are left out. Symbolic links are listed, linked directories are not entered. A directory that bears a
        manifest's name (`x.yaml`) is listed too."""
        ...

    def resolve(self, path: Path) -> Path:
        """The absolute path with every symbolic link followed; parts that do not exist are kept as they are."""
        ...

    def read(self, path: Path, limit: int) -> bytes:
        """The content of a regular file, at most `limit + 1` bytes. Never blocks on a pipe or device: those raise OSError."""
        ...

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        """Replace the file atomically (temporary file in the same directory, fsync, rename), making parent directories.
        An existing file keeps its mode and owner."""
        ...

    def remove(self, path: Path) -> None:
        """Idempotent."""
        ...

    def sweep(self, root: Path) -> Sequence[Path]:
        """Remove what a `write` that was killed halfway left below a directory, and tell what that was. What another
        process writes at this moment is left alone."""
        ...

    def watch(self, root: Path) -> AsyncIterator[None]:
        """Yields soon after anything below `root` changed. A hint only: it may be late, silent, or end."""
        ...


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    started: int
    """Start time in clock ticks since boot (field 22 of /proc/PID/stat)."""
    boot: str
    """The kernel's boot id."""


class Processes(Protocol):
    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> ProcessId:
        """Start a detached process in a session of its own, its output appended to `log`. It outlives the operator."""
        ...

    def is_alive(self, process: ProcessId) -> bool:
        """False also when the number now belongs to another process or the host was booted since."""
        ...

    def kill_tree(self, root: ProcessId | None, *, marker: tuple[str, str]) -> int:
        """SIGKILL the process, all its descendants, and every process whose environment holds `NAME=value` of the marker.
        Returns how many were alive: 0 means that none is left. Idempotent; repeat until 0."""
        ...
