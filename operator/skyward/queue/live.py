"""Unfinished tasks and the attempts that nodes hold, as memory has them."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from skyward.api import TaskFailure
from skyward.contracts import KEPT_FAILURES, TaskRow
from skyward_agent.wire.messages import AttemptId, Peer


@dataclass(slots=True, eq=False)
class LiveTask:
    """One unfinished task."""

    row: TaskRow
    """As it was submitted; what changes is below."""
    items: int
    open: bool
    succeeded: int = 0
    failed: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    cancelled: bool = False
    fresh: int = 0
    """Items from here on wait and were never given out."""
    again: list[int] = field(default_factory=list)
    """Heap of other items that wait."""
    waiting: set[int] = field(default_factory=set)
    """Broadcast: items that wait for their node."""
    tries: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By item: number of its newest attempt, and how many count. (0, 0) when absent."""
    held: dict[int, Held] = field(default_factory=dict)
    arguments: dict[int, bytes] = field(default_factory=dict)
    failures: deque[TaskFailure] = field(default_factory=lambda: deque(maxlen=KEPT_FAILURES))
    world: tuple[Peer, ...] = ()
    in_line: bool = False
    """The pool's heap has an entry for it."""

    @property
    def queued(self) -> int:
        return self.items - self.succeeded - self.failed - len(self.held)

    @property
    def is_finished(self) -> bool:
        return not self.open and self.succeeded + self.failed == self.items

    @property
    def can_give(self) -> bool:
        return bool(self.again) or self.fresh < self.items

    def take(self) -> int:
        """Requires `can_give`. Items that came back go first: they are the oldest."""
        if self.again:
            return heapq.heappop(self.again)
        self.fresh += 1
        return self.fresh - 1


@dataclass(slots=True, eq=False)
class Held:
    """One attempt of one item, in the hands of a node."""

    task: LiveTask
    item: int
    attempt: int
    secret: str
    node_uid: str
    node: str
    started: bool = False

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.task.row.uid, self.item, self.attempt, self.secret)


@dataclass(slots=True)
class Line:
    """The tasks of one pool that can give items: by priority, then age."""

    heap: list[tuple[int, int, LiveTask]] = field(default_factory=list)
    queued: int = 0
    running: int = 0

    def enter(self, task: LiveTask) -> None:
        if task.can_give and not task.in_line:
            task.in_line = True
            heapq.heappush(self.heap, (-task.row.priority, task.row.seq, task))

    def first(self) -> LiveTask | None:
        while self.heap:
            task = self.heap[0][2]
            if task.can_give:
                return task
            heapq.heappop(self.heap)
            task.in_line = False
        return None
