"""One lane: a place for one child process, and through it for one attempt at a time.

Quick attempts are handed to the child a few at once, so that it need not wait for the agent in between. It begins the
next one when the one before has ended; what it has not begun can be taken back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from skyward_agent.states.verdicts import Verdict
from skyward_agent.wire.messages import PROCESS, AttemptId, Lease

GRACE_S = 2.0
"""Between asking a child's process tree to end and killing it."""
RESPAWN_FIRST_S = 0.1
RESPAWN_LAST_S = 5.0
_ONE_BY_ONE = 64
"""Attempts given singly after one that wrote something."""


class LaneState(StrEnum):
    EMPTY = "empty"
    """No process; one is started at `respawn_at`."""
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    """Its child is being ended; the lane is free again once the whole tree is gone."""


@dataclass(slots=True)
class Lane:
    index: int
    child: int = 0
    """Number of its latest child; raised with every start."""
    state: LaneState = LaneState.EMPTY
    executor: str = PROCESS
    """What its child is."""
    respawn_at: float = 0.0
    failed_starts: int = 0
    last_failure: str = ""
    lease: Lease | None = None
    """What its child is at."""
    waiting: deque[Lease] = field(default_factory=deque)
    """What its child was given behind that, in order."""
    is_fetching: bool = False
    """What waits is being taken back: nothing more is given to the child."""
    one_by_one: int = 0
    verdict: Verdict | None = None
    began_at: float = 0.0
    timeout_at: float | None = None
    kill_at: float | None = None

    def deadline(self) -> float | None:
        """When time alone will change something here."""
        if self.state is LaneState.EMPTY:
            return self.respawn_at
        if self.state is LaneState.STOPPING:
            return self.kill_at
        return self.timeout_at

    def start(self, executor: str) -> None:
        self.child += 1
        self.executor = executor
        self.state = LaneState.STARTING

    def run(self, lease: Lease, now: float) -> None:
        self.state = LaneState.BUSY
        self.lease = lease
        self.began_at = now
        self.timeout_at = None if lease.timeout_s is None else now + lease.timeout_s

    def room(self, at_hand: int) -> int:
        """How many more attempts its child may be given; none while enough wait there, so that they are given in batches."""
        if self.state is LaneState.IDLE:
            return 1
        if self.state is not LaneState.BUSY or self.is_fetching or self.one_by_one or self.verdict is not None:
            return 0
        if self.lease is None or self.lease.alone or len(self.waiting) >= at_hand // 2:
            return 0
        return at_hand - 1 - len(self.waiting)

    def held(self) -> Iterator[AttemptId]:
        if self.lease is not None:
            yield self.lease.id
        for lease in self.waiting:
            yield lease.id

    def go_on(self, now: float) -> None:
        """Its attempt has ended: its child begins the next one, if it has one."""
        self.one_by_one = max(0, self.one_by_one - 1)
        if self.waiting:
            self.verdict = None
            self.run(self.waiting.popleft(), now)
        else:
            self.rest()

    def took_back(self, attempts: Container[AttemptId], *, wrote: bool = False) -> list[Lease]:
        """Its child has not begun these: they are no longer its own. Returns them."""
        self.is_fetching = False
        if wrote:
            self.one_by_one = _ONE_BY_ONE
        given = [lease for lease in (self.lease, *self.waiting) if lease is not None]
        self.waiting.clear()
        if self.lease is not None and self.lease.id in attempts:
            self.lease = None
            self.timeout_at = None
            if self.state is LaneState.BUSY:
                self.rest()
        return [lease for lease in given if lease.id in attempts]

    def rest(self) -> None:
        self.state = LaneState.IDLE
        self._clear()

    def stop(self, now: float, *, at_once: bool) -> None:
        self.state = LaneState.STOPPING
        self.timeout_at = None
        self.kill_at = None if at_once else now + GRACE_S

    def empty(self, now: float, failure: str) -> None:
        """Its child is gone. One that never got ready is tried again ever more slowly."""
        if self.state is LaneState.STARTING:
            delay = min(RESPAWN_LAST_S, RESPAWN_FIRST_S * 2.0 ** min(self.failed_starts, 10))
            self.failed_starts += 1
            self.last_failure = failure
            self.respawn_at = now + delay
        else:
            self.respawn_at = now
        self.state = LaneState.EMPTY
        self._clear()

    def _clear(self) -> None:
        self.lease = None
        self.verdict = None
        self.timeout_at = None
        self.kill_at = None
