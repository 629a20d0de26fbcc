"""Control groups (cgroup v2), where this node lets its agent make some: one for each child, with limits that the kernel
keeps. Elsewhere the agent watches its children itself.

A group needs a parent in which memory and processes are counted and which holds no process of its own: the agent's own
group where that was delegated to it, else the top one, for root.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

BY_GROUP = "cgroup"
BY_WATCH = "watch"
MOST_TASKS = 8192
"""Processes and threads of one child together. The agent stops a tree with too many processes; this holds it until then."""
_CONTROLLERS = ("memory", "pids")


class Group:
    """One child's group. A file that cannot be written or read leaves the agent's own watch, which goes on beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, pid: int) -> bool:
        """Whether the process is in it now; what it starts is as well."""
        return _write(self._path / "pids.max", str(MOST_TASKS)) and _write(self._path / "cgroup.procs", str(pid))

    def limit_memory(self, limit_bytes: int | None) -> None:
        """One process over it ends all of them, so that none goes on without another that it needs."""
        _write(self._path / "memory.oom.group", "1")
        _write(self._path / "memory.swap.max", "max" if limit_bytes is None else "0")
        _write(self._path / "memory.max", "max" if limit_bytes is None else str(limit_bytes))

    def oom_kills(self) -> int:
        return _counter(self._path / "memory.events", "oom_kill")

    def peak_bytes(self) -> int:
        """The most memory that was in use here since the child began; 0 on kernels that do not tell."""
        with contextlib.suppress(OSError, ValueError):
            return int((self._path / "memory.peak").read_text())
        return 0

    def remove(self) -> None:
        """End what is left in it. It goes when the last process is gone, at the latest with the agent's next start."""
        _write(self._path / "cgroup.kill", "1")
        with contextlib.suppress(OSError):
            self._path.rmdir()


class Groups:
    """The directory under which this agent's groups are; what an earlier agent left there has been ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        for left in path.iterdir():
            if left.is_dir():
                Group(left).remove()

    def make(self, name: str) -> Group | None:
        path = self._path / name
        try:
            path.mkdir()
        except OSError:
            return None
        return Group(path)


def find_groups(home: Path, process: Path = Path("/proc/self")) -> Groups | None:
    """Groups for the agent of this home; None where they cannot be made."""
    name = f"skyward-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    for parent in _parents(process):
        ours = parent / name
        try:
            if not _counts(parent):
                continue
            ours.mkdir(exist_ok=True)
            if _counts(ours):
                return Groups(ours)
            ours.rmdir()
        except OSError:
            continue
    return None


def _parents(process: Path) -> Iterator[Path]:
    """The agent's own group, then the top one."""
    try:
        mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
        own = next(line[3:] for line in (process / "cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    for words in mounts:
        if words[words.index("-") + 1] == "cgroup2":
            top = Path(words[4])
            yield top / own.lstrip("/")
            if own.strip("/"):
                yield top
            return


def _counts(group: Path) -> bool:
    """Whether memory and processes are counted for each group below this one; they are from now on, if that is allowed."""
    available = (group / "cgroup.controllers").read_text().split()
    enabled = (group / "cgroup.subtree_control").read_text().split()
    if not all(one in available for one in _CONTROLLERS):
        return False
    missing = [f"+{one}" for one in _CONTROLLERS if one not in enabled]
    return not missing or _write(group / "cgroup.subtree_control", " ".join(missing))


def _write(path: Path, text: str) -> bool:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        return False
    return True


def _counter(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
