"""What the agent asks the gateway for: more work, as much as it can hold, and functions that it lacks."""

from __future__ import annotations

from collections.abc import Iterator

from skyward_agent.states.appetite import Credit, Pace
from skyward_agent.states.backlog import Backlog
from skyward_agent.states.crew import Crew
from skyward_agent.states.ledger import Ledger
from skyward_agent.states.shelf import Enquiries
from skyward_agent.wire.messages import NeedFunctions, Want

MAX_UNACKNOWLEDGED = 1024
MAX_UNACKNOWLEDGED_BYTES = 256 * 1024 * 1024
"""Past either, no more work is wanted until the gateway has caught up."""


class Asking:
    """What was asked on this connection, and what is to be asked now."""

    def __init__(self, crew: Crew, queued: Backlog, ledger: Ledger, pace: Pace) -> None:
        self._crew = crew
        self._queued = queued
        self._ledger = ledger
        self._pace = pace
        self._credit = Credit()
        self._enquiries = Enquiries()

    def connected(self) -> None:
        self._credit.reset()
        self._enquiries.clear()

    def received(self, leases: int) -> None:
        self._credit.use(leases)

    def came(self, digest: str) -> None:
        """A function; should it turn out to be something else, it is asked for again at once."""
        self._enquiries.forget(digest)

    def deadline(self) -> float | None:
        return self._enquiries.deadline()

    def due(self, now: float, *, may_take: bool) -> Iterator[NeedFunctions | Want]:
        functions = self._enquiries.due(self._queued.missing(), now)
        if functions:
            yield NeedFunctions(functions)
        capacity = self._capacity(now) if may_take else 0
        if self._credit.is_news(capacity, idle=self._crew.idle):
            self._credit.said = capacity
            yield Want(capacity, self._credit.received)

    def _capacity(self, now: float) -> int:
        """Attempts it could take now: one for each lane, and about AHEAD_S of work behind each that is not at a slow one."""
        if len(self._ledger) >= MAX_UNACKNOWLEDGED or self._ledger.held_bytes >= MAX_UNACKNOWLEDGED_BYTES:
            return 0
        lanes = self._crew.wanted_lanes
        slow = sum(1 for lane in lanes if lane.lease is not None and now - lane.began_at > self._pace.slow_s)
        held = len(self._queued) + sum(len(lane.waiting) + (lane.lease is not None) for lane in self._crew)
        return max(0, self._crew.wanted + (len(lanes) - slow) * self._pace.ahead - held)
