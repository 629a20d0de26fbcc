"""Whose turn it is among the tasks of one pool that can give items.

Priorities come first, and none starves: the urgency of a priority is its number plus one for each `AGEING_S` that it
has waited since it was last served, and the most urgent one is next. Within a priority the keys of fairness (by
default: the submitters) take turns item by item, whatever the length of their maps; within a key the oldest task is
first. So a key has at least its share of what its priority gets, to within one item, and each is served within as many
items as there are keys. Tasks that not every node may run stand in lines of their own, one for each selector.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping

from skyward.queue.live import LiveTask

AGEING_S = 60.0

Taken = tuple[LiveTask, int]
Selector = tuple[tuple[str, str], ...]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


class Level:
    """The waiting tasks of one priority."""

    __slots__ = ("_tasks", "_turns", "priority", "served_at")

    def __init__(self, priority: int, now: float) -> None:
        self.priority = priority
        self.served_at = now
        """When it was last served, or began to wait."""
        self._turns: deque[str] = deque()
        self._tasks: dict[str, list[tuple[int, LiveTask]]] = {}

    def enter(self, task: LiveTask, now: float) -> None:
        if not self.is_waiting:
            self.served_at = now
        key = task.row.policy.fairness_key or task.row.submitter
        if key not in self._tasks:
            self._tasks[key] = []
            self._turns.append(key)
        heapq.heappush(self._tasks[key], (task.row.seq, task))

    @property
    def is_waiting(self) -> bool:
        """Something can be given. Forgets what has become empty at its head."""
        while self._turns:
            tasks = self._tasks[self._turns[0]]
            while tasks:
                task = tasks[0][1]
                if task.can_give:
                    return True
                heapq.heappop(tasks)
                task.in_line = False
            del self._tasks[self._turns.popleft()]
        return False

    def urgency(self, now: float) -> tuple[float, int]:
        return self.priority + max(0.0, now - self.served_at) / AGEING_S, self.priority

    def take(self, now: float) -> Taken:
        """Requires `is_waiting`, just asked."""
        task = self._tasks[self._turns[0]][0][1]
        self.served_at = now
        if len(self._turns) > 1:
            self._turns.rotate(-1)
        return task, task.take()


class Line:
    """The waiting tasks that the same nodes may run."""

    __slots__ = ("_levels", "selector")

    def __init__(self, selector: Mapping[str, str]) -> None:
        self.selector = selector
        self._levels: dict[int, Level] = {}

    def enter(self, task: LiveTask, now: float) -> None:
        priority = task.row.priority
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = Level(priority, now)
        level.enter(task, now)

    @property
    def only(self) -> Level | None:
        """The one priority of which anything may wait."""
        return next(iter(self._levels.values())) if len(self._levels) == 1 else None

    def most_urgent(self, now: float) -> Level | None:
        if len(self._levels) == 1:
            (level,) = self._levels.values()
            return level if level.is_waiting else None
        for priority in [priority for priority, level in self._levels.items() if not level.is_waiting]:
            del self._levels[priority]
        return max(self._levels.values(), key=lambda level: level.urgency(now), default=None)


class PoolLine:
    """Everything that waits in one pool, and how much waits and runs."""

    __slots__ = ("_lines", "queued", "running")

    def __init__(self) -> None:
        self.queued = 0
        self.running = 0
        self._lines: dict[Selector, Line] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.queued or self.running or self._lines)

    def enter(self, task: LiveTask, now: float) -> None:
        if not task.can_give or task.in_line:
            return
        task.in_line = True
        wanted = task.row.policy.selector
        selector = tuple(sorted(wanted.items())) if wanted else ()
        line = self._lines.get(selector)
        if line is None:
            line = self._lines[selector] = Line(wanted)
        line.enter(task, now)

    def take(self, count: int, labels: Mapping[str, str], now: float) -> list[Taken]:
        """Up to so many items that a node with these labels may run, no longer waiting."""
        taken: list[Taken] = []
        lines = [line for line in self._lines.values() if selects(line.selector, labels)]
        only = lines[0].only if len(lines) == 1 else None
        while len(taken) < count:
            level = only if only is not None and only.is_waiting else _next(lines, now)
            if level is None:
                break
            taken.append(level.take(now))
        if len(taken) < count:
            self._forget_empty(lines, now)
        return taken

    def _forget_empty(self, lines: list[Line], now: float) -> None:
        for line in lines:
            if line.most_urgent(now) is None:
                del self._lines[tuple(sorted(line.selector.items()))]


def _next(lines: list[Line], now: float) -> Level | None:
    if len(lines) == 1:
        return lines[0].most_urgent(now)
    levels = (level for line in lines if (level := line.most_urgent(now)) is not None)
    # Of equally urgent ones, that which waited longest: lines of one priority take turns.
    return max(levels, key=lambda level: (*level.urgency(now), -level.served_at), default=None)
