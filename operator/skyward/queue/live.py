"""Unfinished tasks and the attempts that nodes hold, as memory has them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from skyward.api import TaskFailure
from skyward.contracts import KEPT_FAILURES, EndRow, Rank, TaskRow
from skyward_agent.wire.messages import AT_MOST_ONCE, AttemptId, Peer


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
    ranks: tuple[Rank, ...] = ()
    """Broadcast: who has which rank now."""
    fresh: int = 0
    """Items from here on wait and were never given out."""
    again: list[int] = field(default_factory=list)
    """Heap of other items that wait."""
    waiting: set[int] = field(default_factory=set)
    """Broadcast: items that wait for their node."""
    delayed: dict[int, float] = field(default_factory=dict)
    """Items that wait, and until when they are not given out."""
    tries: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By item: number of its newest attempt, and how many count. (0, 0) when absent."""
    held: dict[int, Held] = field(default_factory=dict)
    arguments: dict[int, bytes] = field(default_factory=dict)
    failures: tuple[TaskFailure, ...] = ()
    """The last ones."""
    seconds: float = 0.0
    cost_usd: float = 0.0
    world: tuple[Peer, ...] = ()
    in_line: bool = False
    """It stands in its pool's line."""
    is_retired: bool = False
    blocked_since: float | None = None
    """Since when what waits cannot be given out, as far as anybody looked."""
    was_free: bool = False
    """Somebody looked when it could."""

    @property
    def queued(self) -> int:
        return self.items - self.succeeded - self.failed - len(self.held)

    @property
    def is_finished(self) -> bool:
        return not self.open and self.succeeded + self.failed == self.items

    @property
    def is_at_most_once(self) -> bool:
        return self.row.policy.delivery == AT_MOST_ONCE

    def note(self, row: EndRow) -> None:
        """What the end of one attempt adds to what is shown of the task."""
        self.seconds += row.seconds
        self.cost_usd += row.cost_usd
        if row.note is not None:
            self.failures = (*self.failures, row.note)[-KEPT_FAILURES:]

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
    incarnation: str = ""
    """Of the agent that it was given to; empty when that was before a restart of the operator."""
    since: float = 0.0
    """When it was given out, or was heard to have begun."""
    usd_per_s: float = 0.0

    @property
    def id(self) -> AttemptId:
        return AttemptId(self.task.row.uid, self.item, self.attempt, self.secret)
