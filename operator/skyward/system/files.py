"""Small files, read whole and replaced atomically."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from skyward.contracts import FileInfo

_TEMPORARY = ".skyward-"
_LEFT = re.compile(r"\.skyward-.+\.([0-9]{1,9})")


class SystemFiles:
    def info(self, path: Path) -> FileInfo:
        return _info(path.stat())

    def walk(self, root: Path) -> Sequence[Path]:
        return sorted(self._entries(root), key=lambda path: path.parts)  # the order of paths, but compared in C

    def _entries(self, directory: Path) -> list[Path]:
        found: list[Path] = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = directory / entry.name
                if entry.is_dir(follow_symlinks=False):
                    # A directory that bears a manifest's name is listed too, so that its owner is told.
                    if entry.name.endswith((".yaml", ".yml")):
                        found.append(path)
                    found.extend(self._entries(path))
                else:
                    found.append(path)
        return found

    def resolve(self, path: Path) -> Path:
        return Path(os.path.realpath(path))

    def read(self, path: Path, limit: int) -> bytes:
        # O_NONBLOCK: opening a pipe nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            return file.read(limit + 1)

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        old = path.stat() if path.exists() else None
        temporary = path.with_name(f"{_TEMPORARY}{path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if old is not None and os.geteuid() == 0:
                    os.fchown(descriptor, old.st_uid, old.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(old.st_mode) if old is not None else mode)
                os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sweep(self, root: Path) -> Sequence[Path]:
        found: list[Path] = []
        for directory, below, names in os.walk(root):
            below[:] = [name for name in below if not name.startswith(".")]
            found += [Path(directory) / name for name in names if _is_left(name)]
        for path in found:
            path.unlink(missing_ok=True)
        return found

    async def watch(self, root: Path) -> AsyncIterator[None]:
        import watchfiles  # a native library that only this method needs

        async for _ in watchfiles.awatch(root, debounce=50, step=5, ignore_permission_denied=True):
            yield


def _is_left(name: str) -> bool:
    """A temporary file of ours whose writer is gone."""
    match = _LEFT.fullmatch(name)
    if match is None:
        return False
    pid = int(match[1])
    return pid == os.getpid() or not Path(f"/proc/{pid}").exists()


def _info(found: os.stat_result) -> FileInfo:
    return FileInfo(
        device=found.st_dev,
        inode=found.st_ino,
        size=found.st_size,
        modified_ns=found.st_mtime_ns,
        changed_ns=found.st_ctime_ns,
        is_regular=stat.S_ISREG(found.st_mode),
        is_directory=stat.S_ISDIR(found.st_mode),
    )


def _sync_directory(path: Path) -> None:
    """Make the rename itself survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
