"""Process trees as /proc shows them: who descends from whom, what they use, and how to end all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection, Iterable

_PR_SET_CHILD_SUBREAPER = 36
_FREEZE_ROUNDS = 50
_KIBIBYTE = 1024


def become_subreaper() -> bool:
    """Descendants that lose their parent become ours instead of escaping to init."""
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def children_of(pid: int) -> list[int]:
    """Direct children, ended ones included until they are reaped. Empty when the process is gone."""
    found: list[int] = []
    try:
        with os.scandir(f"/proc/{pid}/task") as threads:
            for thread in threads:
                with open(f"{thread.path}/children") as file:
                    found += [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return found if not os.path.exists(f"/proc/{pid}") else _children_by_scan(pid)  # noqa: PTH110 - hot path
    except (ProcessLookupError, PermissionError):
        pass
    return found


def tree_of(root: int) -> list[int]:
    """The process and all its descendants, parents first."""
    tree = [root]
    for pid in tree:
        tree += children_of(pid)
    return tree


def kill_trees(roots: Iterable[int]) -> None:
    """End these processes and everything below them. They are frozen first, so that none forks itself away meanwhile."""
    frozen: list[int] = []
    seen: set[int] = set()
    for root in roots:
        for _ in range(_FREEZE_ROUNDS):
            new = [pid for pid in tree_of(root) if pid not in seen]
            if not new:
                break
            for pid in new:
                send_signal(pid, signal.SIGSTOP)
            seen.update(new)
            frozen += new
    for pid in frozen:
        send_signal(pid, signal.SIGKILL)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal one process; one that is gone or not ours is passed over."""
    if pid > 1 and pid != os.getpid():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def memory_of(pid: int) -> int:
    """Bytes of memory that belong to this process alone or are shared memory; files it maps do not count."""
    return _sum_of(f"/proc/{pid}/status", ("RssAnon:", "RssShmem:"))


def tree_memory(root: int, limit_bytes: int) -> int:
    """Memory of a whole tree. What forked processes share is counted once where that decides whether the limit is passed."""
    pids = tree_of(root)
    used = sum(memory_of(pid) for pid in pids)
    if used > limit_bytes and len(pids) > 1:
        shared_once = [_sum_of(f"/proc/{pid}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:")) for pid in pids]
        used = sum(shared_once) or used
    return used


def start_time_of(pid: int) -> str | None:
    """With the pid, this names a process for as long as the host is up."""
    fields = _stat(pid)
    return fields[19] if fields else None


def session_of(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def all_pids() -> list[int]:
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def sweep_strangers(known: Collection[int]) -> int:
    """End processes that became our children because their parents died. Returns how many still live.

    Children of ours that are not `known` but run in our own session were started by us and are left alone.
    """
    own = os.getpid()
    session = os.getsid(0)
    living = []
    for pid in children_of(own):
        if pid in known or session_of(pid) in (session, None):
            continue
        try:
            reaped, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if reaped == 0:
            living.append(pid)
    kill_trees(living)
    return len(living)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().decode(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _children_by_scan(parent: int) -> list[int]:
    """For kernels that do not list children."""
    found = []
    for pid in all_pids():
        fields = _stat(pid)
        if fields and int(fields[1]) == parent:
            found.append(pid)
    return found


def _sum_of(path: str, names: tuple[str, ...]) -> int:
    """Sum of some `Name: N kB` lines of a /proc file, in bytes; 0 when the process is gone."""
    try:
        with open(path) as file:
            return sum(int(line.split()[1]) * _KIBIBYTE for line in file if line.startswith(names))
    except OSError:
        return 0
