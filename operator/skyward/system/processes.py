"""Processes of this host, read from /proc, so that the local driver can own whole trees of them.

A process is known by number, start time and boot, so a number used again is never taken for the old process. A tree is
found by two marks: descent (parent numbers) and a variable in the environment, which children that left their parents
behind still carry. Whole trees are stopped before they are killed, so that nothing forks away meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skyward.contracts import ProcessId

_PROC = Path("/proc")
_ROUNDS = 50
"""Each round stops or kills all that is found; a tree that still grows after so many is left to the next call."""
_DEAD = frozenset({b"Z", b"X"})
_START_IN_DIRECTORY = 'cd "$0" && exec "$@"'


@dataclass(frozen=True, slots=True)
class _Stat:
    """The part of /proc/PID/stat that matters here."""

    pid: int
    parent: int
    started: int
    is_dead: bool


class SystemProcesses:
    """Every method is safe to call from any thread and may take some ten milliseconds: call it off the event loop."""

    def __init__(self) -> None:
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._lock = threading.Lock()
        self._children: set[int] = set()

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> ProcessId:
        """Raises OSError when the log cannot be opened. A program that cannot be started says so in the log and is dead."""
        self._reap()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            "/bin/sh",
            ["/bin/sh", "-c", _START_IN_DIRECTORY, str(cwd), *argv],
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        )
        stat = _read_stat(pid)
        assert stat is not None, "a child that nobody waited for keeps its entry"
        with self._lock:
            self._children.add(pid)
        return ProcessId(pid=pid, started=stat.started, boot=self._boot)

    def is_alive(self, process: ProcessId) -> bool:
        self._reap()
        if process.boot != self._boot:
            return False
        stat = _read_stat(process.pid)
        return stat is not None and not stat.is_dead and stat.started == process.started

    def kill_tree(self, root: ProcessId | None, *, marker: tuple[str, str]) -> int:
        """Never touches this process, those it descends from, or process 1."""
        self._reap()
        roots = {root.pid: root.started} if root is not None and root.boot == self._boot else {}
        mark = b"=".join(os.fsencode(part) for part in marker)
        found = _find_tree(roots, mark)
        if found:
            everyone = self._stop_all(found, roots, mark)
            _send(everyone.values(), signal.SIGKILL)
            self._reap()
        return len(found)

    def _stop_all(self, found: dict[int, _Stat], roots: dict[int, int], mark: bytes) -> dict[int, _Stat]:
        """Stop them and whatever they started meanwhile, until a look finds nobody new: a stopped process cannot fork."""
        everyone = dict(found)
        fresh = found
        for _ in range(_ROUNDS):
            _send(fresh.values(), signal.SIGSTOP)
            roots |= {pid: stat.started for pid, stat in fresh.items()}
            fresh = {pid: stat for pid, stat in _find_tree(roots, mark).items() if pid not in everyone}
            if not fresh:
                break
            everyone |= fresh
        return everyone

    def _reap(self) -> None:
        """Collect our own dead children: they would stay in the process table for as long as we run."""
        with self._lock:
            for pid in list(self._children):
                try:
                    done, _ = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    done = pid  # another waiter in this process took it
                if done:
                    self._children.discard(pid)


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the name in parentheses and may hold anything, parentheses included.
    fields = text[text.rindex(b")") + 2 :].split()
    return _Stat(pid=pid, parent=int(fields[1]), started=int(fields[19]), is_dead=fields[0] in _DEAD)


def _read_all() -> dict[int, _Stat]:
    stats = (_read_stat(int(name)) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208 - names alone are needed
    return {stat.pid: stat for stat in stats if stat is not None}


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # gone, or of another user and therefore not ours


def _find_tree(roots: Mapping[int, int], mark: bytes) -> dict[int, _Stat]:
    """Living processes that are a root, carry the mark, or descend from one that does."""
    stats = _read_all()
    spared = _own_line(stats)
    tree = {
        pid
        for pid, stat in stats.items()
        if pid not in spared and (roots.get(pid) == stat.started or _is_marked(pid, mark))
    }
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    queue = list(tree)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child not in tree and child not in spared:
                tree.add(child)
                queue.append(child)
    return {pid: stats[pid] for pid in tree if not stats[pid].is_dead}


def _own_line(stats: Mapping[int, _Stat]) -> set[int]:
    """This process, everything it descends from, and process 1."""
    line = {0, 1}
    pid = os.getpid()
    while pid in stats and pid not in line:
        line.add(pid)
        pid = stats[pid].parent
    return line


def _send(targets: Iterable[_Stat], number: signal.Signals) -> None:
    for target in targets:
        now = _read_stat(target.pid)
        if now is None or now.started != target.started:
            continue
        try:
            os.kill(target.pid, number)
        except (ProcessLookupError, PermissionError):
            continue  # it ended, or took another user's identity: the next look decides
