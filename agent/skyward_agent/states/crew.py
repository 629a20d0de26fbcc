"""The agent's lanes together: how many there are, who gets the next attempt, and what their children are told."""

from __future__ import annotations

from collections.abc import Iterator

from skyward_agent.states.appetite import Pace
from skyward_agent.states.backlog import Backlog
from skyward_agent.states.commands import Command, RunAttempt, SpawnChild, StopChild, TakeBack
from skyward_agent.states.lanes import Lane, LaneState
from skyward_agent.states.shelf import FunctionShelf
from skyward_agent.wire.messages import PROCESS, AttemptId

FAILED_STARTS_SHOWN = 3


class Crew:
    """Gives its commands to `commands`, which its owner empties."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.wanted = 1  # the first child warms up while the gateway is still being reached
        self.executor = PROCESS
        self.commands: list[Command] = []

    def __iter__(self) -> Iterator[Lane]:
        return iter(self.lanes)

    @property
    def wanted_lanes(self) -> list[Lane]:
        """Those that may take work."""
        return [lane for lane in self.lanes[: self.wanted] if self._is_right(lane)]

    @property
    def busy(self) -> int:
        return sum(1 for lane in self.lanes if lane.lease is not None)

    @property
    def idle(self) -> int:
        return sum(1 for lane in self.wanted_lanes if lane.state is LaneState.IDLE)

    @property
    def is_alive(self) -> bool:
        """Every lane has a warm child."""
        return all(lane.state in (LaneState.IDLE, LaneState.BUSY) for lane in self.lanes)

    @property
    def is_gone(self) -> bool:
        return all(lane.state is LaneState.EMPTY for lane in self.lanes)

    @property
    def problem(self) -> str:
        """Why children do not start, when none does."""
        lanes = self.lanes
        if not lanes or any(lane.failed_starts < FAILED_STARTS_SHOWN for lane in lanes):
            return ""
        return f"child processes do not start: {lanes[0].last_failure}"

    def held(self) -> Iterator[AttemptId]:
        for lane in self.lanes:
            yield from lane.held()

    def of_child(self, index: int, child: int) -> Lane | None:
        """The lane of this child, unless the child was replaced since."""
        lane = self.lanes[index] if index < len(self.lanes) else None
        return lane if lane is not None and lane.child == child else None

    def at(self, attempt: AttemptId) -> Lane | None:
        """The lane whose child is at this attempt."""
        return next((lane for lane in self.lanes if lane.lease is not None and lane.lease.id == attempt), None)

    def deadlines(self, pace: Pace, *, is_leaving: bool) -> Iterator[float | None]:
        kept = 0 if is_leaving else self.wanted
        for lane in self.lanes:
            if lane.state is not LaneState.EMPTY or lane.index < kept:
                yield lane.deadline()
        if any(lane.state is LaneState.IDLE for lane in self.lanes[:kept]):
            for lane in self.lanes:
                if lane.waiting and not lane.is_fetching:
                    yield lane.began_at + pace.slow_s

    # --- what children are told ----------------------------------------------------------------------------------

    def fetch(self, lane: Lane) -> None:
        """Ask back what this child has not begun."""
        if lane.waiting and not lane.is_fetching:
            lane.is_fetching = True
            self.commands.append(TakeBack(lane.index, lane.child))

    def stop(self, lane: Lane, now: float, *, at_once: bool) -> None:
        if lane.state is LaneState.EMPTY or (lane.state is LaneState.STOPPING and not at_once):
            return
        self.fetch(lane)
        lane.stop(now, at_once=at_once)
        self.commands.append(StopChild(lane.index, lane.child, kill=at_once))

    def resize(self, now: float) -> None:
        """Lanes over the wanted number, and children of the wrong kind, go as soon as they are free, from the end; missing
        ones and missing children come."""
        for lane in self.lanes:
            if lane.index < self.wanted and self._is_right(lane):
                continue
            self.fetch(lane)
            if lane.lease is None and lane.state is not LaneState.STOPPING:
                self.stop(lane, now, at_once=True)
        while len(self.lanes) > self.wanted and self.lanes[-1].state is LaneState.EMPTY:
            self.lanes.pop()
        while len(self.lanes) < self.wanted:
            self.lanes.append(Lane(len(self.lanes), respawn_at=now))
        for lane in self.lanes[: self.wanted]:
            if lane.state is LaneState.EMPTY and now >= lane.respawn_at:
                lane.start(self.executor)
                self.commands.append(SpawnChild(lane.index, lane.child, self.executor))

    def _is_right(self, lane: Lane) -> bool:
        return lane.executor == self.executor or lane.state is LaneState.EMPTY

    def dispatch(self, queued: Backlog, shelf: FunctionShelf, pace: Pace, now: float) -> tuple[AttemptId, ...]:
        """Give each idle lane the oldest lease whose function is here, then quick ones to lanes whose children have few.
        When there are none, what waits behind a slow one comes back for a lane that idles. Returns what was given."""
        given: list[AttemptId] = []
        lanes = self.wanted_lanes
        if queued.ready:
            for lane in lanes:
                if lane.state is LaneState.IDLE:
                    given += self._give(lane, 1, queued, shelf, now)
            share = -(-queued.ready // max(1, len(lanes)))
            for lane in lanes:
                given += self._give(lane, min(share, lane.room(pace.at_hand)), queued, shelf, now)
        elif self.idle:
            for lane in lanes:
                if lane.waiting and now - lane.began_at >= pace.slow_s:
                    self.fetch(lane)
        return tuple(given)

    def _give(self, lane: Lane, count: int, queued: Backlog, shelf: FunctionShelf, now: float) -> Iterator[AttemptId]:
        for _ in range(count):
            lease = queued.first()
            if lease is None or (lease.alone and lane.lease is not None):
                return
            queued.take()
            if lane.lease is None:
                lane.run(lease, now)
            else:
                lane.waiting.append(lease)
            self.commands.append(RunAttempt(lane.index, lane.child, lease, shelf.take(lease.function)))
            yield lease.id
