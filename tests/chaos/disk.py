"""A small file system for the state directory, and filling it up. Needs root; without it that fault is left out."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

_CLONE_NEWNS = 0x00020000
SIZE_MIB = 192


def mount_small(directory: Path) -> str:
    """Mount a file system of its own at `directory`, seen by this process and what it starts, and gone with them.
    Returns why not; empty when it is there."""
    if os.geteuid() != 0:
        return "a small file system takes root"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        return f"no mount namespace of its own: {os.strerror(ctypes.get_errno())}"
    for argv in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=0700", "tmpfs", str(directory)],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"{' '.join(argv[:4])} failed: {done.stderr.strip()}"
    return ""


def unmount(directory: Path) -> None:
    """Undo `mount_small`; nothing where nothing is mounted. What still has files open there keeps them."""
    if os.path.ismount(directory):
        subprocess.run(["umount", "--lazy", str(directory)], capture_output=True, check=False)


class Ballast:
    """A file that takes all that is left of a file system."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ballast"

    def load(self) -> None:
        """Afterwards not one more block can be written there."""
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            size = 0
            for block in (1 << 20, 1 << 16, 1 << 12):
                size = _grow(descriptor, size, block)
        finally:
            os.close(descriptor)

    def drop(self) -> None:
        self._file.unlink(missing_ok=True)


def _grow(descriptor: int, size: int, block: int) -> int:
    while True:
        try:
            os.posix_fallocate(descriptor, size, block)
        except OSError:
            return size
        size += block
