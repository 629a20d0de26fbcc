"""Processes that exist only here: numbers, parents and markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skyward.contracts import ProcessId


@dataclass(frozen=True)
class FakeProcess:
    id: ProcessId
    argv: tuple[str, ...]
    env: Mapping[str, str]
    parent: int | None = None


class FakeProcesses:
    def __init__(self) -> None:
        self.alive: dict[int, FakeProcess] = {}
        self.unkillable_rounds = 0
        """So many next kills find that something was forked meanwhile."""
        self._next = 100

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> ProcessId:
        return self._add(tuple(argv), env, None)

    def fork(self, parent: ProcessId, env: Mapping[str, str] | None = None) -> ProcessId:
        """A child; with `env` it has cleaned or changed its environment."""
        return self._add(("child",), self.alive[parent.pid].env if env is None else env, parent.pid)

    def is_alive(self, process: ProcessId) -> bool:
        found = self.alive.get(process.pid)
        return found is not None and found.id == process

    def kill_tree(self, root: ProcessId | None, *, marker: tuple[str, str]) -> int:
        name, value = marker
        doomed = {pid for pid, process in self.alive.items() if process.env.get(name) == value}
        if root is not None and self.is_alive(root):
            doomed.add(root.pid)
        while more := {pid for pid, process in self.alive.items() if process.parent in doomed} - doomed:
            doomed |= more
        if self.unkillable_rounds:
            self.unkillable_rounds -= 1
            return max(1, len(doomed))
        for pid in doomed:
            del self.alive[pid]
        return len(doomed)

    def _add(self, argv: tuple[str, ...], env: Mapping[str, str], parent: int | None) -> ProcessId:
        self._next += 1
        process = ProcessId(self._next, self._next * 10, "boot")
        self.alive[process.pid] = FakeProcess(process, argv, dict(env), parent)
        return process
