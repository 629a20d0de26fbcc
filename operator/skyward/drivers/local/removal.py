"""Unmaking nodes: every process first, the directory last, so that what is still listed may still be alive.

Blocking code: the driver runs it in threads.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from skyward.contracts import Processes
from skyward.drivers.local.models import LEAVING, MARKER, TEMPORARY, read_process
from skyward.errors import NotYet

_ROUNDS = 100
_PAUSE_S = 0.01
"""A killed process takes a moment to vanish, a large one longer."""


def remove_node(root: Path, instance_id: str, *, processes: Processes, suffix: str) -> None:
    """Kill the node's processes and remove its directory. Idempotent, resumable after a crash at any point.

    Raises NotYet while processes are left: they cannot be killed (a stuck system call) or fork faster than they die.
    """
    directory = root / instance_id
    try:
        (directory / LEAVING).touch()
    except FileNotFoundError:
        return
    server = read_process(directory)
    for _ in range(_ROUNDS):
        if processes.kill_tree(server, marker=(MARKER, instance_id)) == 0:
            break
        time.sleep(_PAUSE_S)
    else:
        raise NotYet(f"processes of local node {instance_id} are still alive; killing them again")
    trash = root / f"{TEMPORARY}{instance_id}-{suffix}"
    try:
        directory.rename(trash)
    except FileNotFoundError:
        return  # another call was faster
    remove_tree(trash)


def sweep(root: Path, keep: Callable[[str], bool]) -> None:
    """Remove what crashes left half made or half removed."""
    for path in root.glob(f"{TEMPORARY}*"):
        if not keep(path.name):
            remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a directory whatever its modes are. What cannot be removed now is left to the next sweep."""
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    path.chmod(stat.S_IRWXU)
    for parent, names, _ in os.walk(path):
        for name in names:
            directory = Path(parent, name)
            if not directory.is_symlink():
                directory.chmod(stat.S_IRWXU)
    shutil.rmtree(path, ignore_errors=True)
