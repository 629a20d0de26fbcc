"""The agent's mind: `handle(stimulus, now)` gives commands; nothing here touches a process, a socket or a clock.

The story of an attempt: leased → queued (its function may still be on the way) → running in one lane → reported →
acknowledged. Whatever ends it, exactly one report is made, and kept until the gateway acknowledges it; an attempt that
the gateway says is no longer ours ends without one, and so does one that was given back before it began. Time is
monotonic seconds, given by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable

from skyward_agent.states.appetite import Pace, is_worth_saying
from skyward_agent.states.backlog import Backlog
from skyward_agent.states.commands import (
    Command,
    Deliver,
    Exit,
    ExitReason,
    Forget,
    RunAttempt,
    Send,
    SpawnChild,
    Spool,
    StopChild,
)
from skyward_agent.states.lanes import Lane, LaneState, Verdict
from skyward_agent.states.ledger import Ledger
from skyward_agent.states.shelf import FunctionShelf
from skyward_agent.states.stimuli import (
    Abandoned,
    Acknowledged,
    ChildDied,
    ChildFinished,
    ChildReady,
    Configured,
    Disconnected,
    Dismissed,
    FunctionsArrived,
    Leased,
    MemoryExceeded,
    Recalled,
    Stimulus,
    Superseded,
    Terminated,
    Tick,
    Welcomed,
)
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import (
    AttemptId,
    Configure,
    Failure,
    Lease,
    NeedFunctions,
    Report,
    Returned,
    Started,
    Want,
)

MAX_UNACKNOWLEDGED = 1024
MAX_UNACKNOWLEDGED_BYTES = 256 * 1024 * 1024
"""Past either, no more work is wanted until the gateway has caught up."""
ASK_AGAIN_S = 10.0
FAILED_STARTS_SHOWN = 3
SHELF_BYTES = 256 * 1024 * 1024
SHELF_COUNT = 1024


class AgentMachine:
    """One agent's state. Same stimuli at the same times, same commands."""

    def __init__(self, *, cpus: int, now: float, spooled: Iterable[Report] = (), orphan_timeout_s: float | None = None):
        self._cpus = max(1, cpus)
        self._lanes: list[Lane] = []
        self._wanted_lanes = 1  # the first child warms up while the gateway is still being reached
        self._configured = False
        self._warmed = False
        self._schedulable = False
        self._connected = False
        self._contact = now
        self._orphan_timeout_s = orphan_timeout_s
        self._credit = 0
        self._received = 0
        self._pace = Pace()
        self._queued = Backlog()
        self._asked: dict[str, float] = {}
        self._shelf = FunctionShelf(limit_bytes=SHELF_BYTES, limit_count=SHELF_COUNT)
        self._ledger = Ledger(spooled)
        self._leaving: ExitReason | None = None
        self._exited = False
        self._commands: list[Command] = []

    # --- what may be asked of it ---------------------------------------------------------------------------------

    def held(self) -> tuple[AttemptId, ...]:
        """Attempts this agent holds: queued, running, or reported and not acknowledged."""
        running = (lane.lease.id for lane in self._lanes if lane.lease is not None)
        return (*self._queued, *running, *(report.id for report in self._ledger))

    @property
    def lanes(self) -> int:
        return self._wanted_lanes

    @property
    def busy(self) -> int:
        return sum(1 for lane in self._lanes if lane.lease is not None)

    @property
    def ready(self) -> bool:
        """Its children were all warm once, it goes on, and it is able to start children."""
        return self._warmed and self._leaving is None and not self.problem

    @property
    def problem(self) -> str:
        """Why children do not start, when none does."""
        lanes = self._lanes
        if not lanes or any(lane.failed_starts < FAILED_STARTS_SHOWN for lane in lanes):
            return ""
        return f"child processes do not start: {lanes[0].last_failure}"

    def deadline(self) -> float | None:
        """When a Tick is due, if nothing else happens before."""
        kept = self._wanted_lanes if self._leaving is None else 0
        times = [lane.deadline() for lane in self._lanes if lane.state is not LaneState.EMPTY or lane.index < kept]
        times.append(self._ledger.next_spool())
        if not self._connected and self._orphan_timeout_s is not None and self._leaving is None:
            times.append(self._contact + self._orphan_timeout_s)
        if self._connected and self._asked:
            times.append(min(self._asked.values()) + ASK_AGAIN_S)
        return min((time for time in times if time is not None), default=None)

    def handle(self, stimulus: Stimulus, now: float) -> list[Command]:
        """Take in one thing that happened; the commands are to be carried out in order."""
        self._commands = []
        if not self._exited:
            self._take(stimulus, now)
            self._settle(now)
        return self._commands

    # --- stimuli -------------------------------------------------------------------------------------------------

    def _take(self, stimulus: Stimulus, now: float) -> None:
        match stimulus:
            case ChildFinished():
                self._child_finished(stimulus, now)
            case Leased(leases, functions):
                self._leased(leases, functions)
            case Acknowledged(attempts):
                self._forget(attempts)
            case Tick():
                pass
            case ChildReady(lane, child):
                self._child_ready(lane, child)
            case ChildDied():
                self._child_died(stimulus, now)
            case MemoryExceeded():
                self._memory_exceeded(stimulus, now)
            case Welcomed(configure, abandon):
                self._welcomed(configure, abandon, now)
            case Disconnected():
                self._disconnected(now)
            case Configured(configure):
                self._configure(configure)
            case FunctionsArrived(functions):
                self._put_functions(functions)
            case Abandoned(attempts, reason):
                self._abandon(attempts, reason, now)
            case Recalled(attempts):
                self._give_back(self._queued.remove_all(attempts))
            case Dismissed():
                self._leave(ExitReason.DISMISSED, now)
            case Superseded():
                self._leave(ExitReason.SUPERSEDED, now)
            case Terminated():
                self._leave(ExitReason.TERMINATED, now)

    def _welcomed(self, configure: Configure, abandon: tuple[AttemptId, ...], now: float) -> None:
        self._connected = True
        self._credit = self._received = 0
        self._asked.clear()
        self._forget(abandon)
        for attempt in abandon:
            self._queued.remove(attempt)
            lane = self._lane_of(attempt)
            if lane is not None:
                lane.lease = None
                self._stop(lane, now, at_once=False)
        self._configure(configure)
        begun = tuple(lane.lease.id for lane in self._lanes if lane.lease is not None)
        if begun:
            self._commands.append(Send(Started(begun)))
        self._commands.extend(Deliver(report) for report in self._ledger)

    def _disconnected(self, now: float) -> None:
        if self._connected:
            self._connected = False
            self._contact = now
            self._credit = 0

    def _configure(self, configure: Configure) -> None:
        self._schedulable = configure.schedulable
        self._orphan_timeout_s = configure.orphan_timeout_s
        if self._leaving is not None:
            return
        self._configured = True
        self._wanted_lanes = configure.lanes if configure.lanes > 0 else self._cpus
        if not self._schedulable and self._queued:
            self._give_back(self._queued.clear())

    def _leased(self, leases: tuple[Lease, ...], functions: tuple[wire.Function, ...]) -> None:
        self._credit = max(0, self._credit - len(leases))
        self._received += len(leases)
        self._put_functions(functions)
        if self._leaving is not None or not self._schedulable:
            self._give_back(tuple(lease.id for lease in leases))
            return
        known = set(self.held())
        for lease in leases:
            if lease.id not in known:
                self._queued.add(lease, self._shelf)

    def _give_back(self, attempts: tuple[AttemptId, ...]) -> None:
        """These will never begin here. One that the gateway does not hear of is missing in the next greeting."""
        if self._connected:
            self._commands.append(Send(Returned(attempts)))

    def _put_functions(self, functions: tuple[wire.Function, ...]) -> None:
        if functions:
            needed = self._queued.functions()
            for function in functions:
                self._shelf.put(function, needed)
                self._asked.pop(function.digest, None)
            self._queued.sort_out(self._shelf)

    def _forget(self, attempts: tuple[AttemptId, ...]) -> None:
        for attempt in attempts:
            if self._ledger.remove(attempt):
                self._commands.append(Forget(attempt))

    def _abandon(self, attempts: tuple[AttemptId, ...], reason: str, now: float) -> None:
        failure = Failure(type=wire.CANCELLED, message=reason or "cancelled")
        for attempt in attempts:
            if self._queued.remove(attempt):
                self._report(Report(attempt, wire.CANCELLED, failure=failure), now)
                continue
            lane = self._lane_of(attempt)
            if lane is not None:
                lane.verdict = Verdict(wire.CANCELLED, failure)
                self._stop(lane, now, at_once=False)

    # --- children ------------------------------------------------------------------------------------------------

    def _child_ready(self, index: int, child: int) -> None:
        lane = self._lane(index, child)
        if lane is not None and lane.state is LaneState.STARTING:
            lane.failed_starts = 0
            lane.rest()

    def _child_finished(self, said: ChildFinished, now: float) -> None:
        lane = self._lane(said.lane, said.child)
        if lane is None or lane.lease is None or lane.state not in (LaneState.BUSY, LaneState.STOPPING):
            return
        if lane.state is LaneState.STOPPING:  # its verdict stands; what is left of its tree needs no more grace
            self._stop(lane, now, at_once=True)
            return
        self._report(Report(lane.lease.id, said.outcome, said.value, said.failure, said.seconds), now)
        self._pace.took(now - lane.began_at)
        lane.lease = None
        if said.clean:
            lane.rest()
        else:
            self._stop(lane, now, at_once=True)

    def _child_died(self, said: ChildDied, now: float) -> None:
        lane = self._lane(said.lane, said.child)
        if lane is None or lane.state is LaneState.EMPTY:
            return
        if lane.lease is not None and self._leaving is None:
            verdict = lane.verdict or Verdict(said.outcome, said.failure)
            evidence = {**said.failure.evidence, **verdict.failure.evidence}
            failure = Failure(
                verdict.failure.type, verdict.failure.message, verdict.failure.traceback, evidence=evidence
            )
            self._report(Report(lane.lease.id, verdict.outcome, failure=failure, seconds=said.seconds), now)
        lane.empty(now, said.failure.message)

    def _memory_exceeded(self, said: MemoryExceeded, now: float) -> None:
        lane = self._lane(said.lane, said.child)
        if lane is None or lane.state is not LaneState.BUSY:
            return
        mebibytes = said.limit_bytes // 2**20
        lane.verdict = Verdict(
            wire.OUT_OF_MEMORY,
            Failure(
                wire.OUT_OF_MEMORY,
                f"used more memory than its limit of {mebibytes} MiB (resources.memory) and was stopped",
                evidence={"limit_bytes": str(said.limit_bytes), "peak_bytes": str(said.peak_bytes)},
            ),
        )
        self._stop(lane, now, at_once=True)

    def _stop(self, lane: Lane, now: float, *, at_once: bool) -> None:
        if lane.state is LaneState.EMPTY or (lane.state is LaneState.STOPPING and not at_once):
            return
        lane.stop(now, at_once=at_once)
        self._commands.append(StopChild(lane.index, lane.child, kill=at_once))

    # --- leaving -------------------------------------------------------------------------------------------------

    def _leave(self, reason: ExitReason, now: float) -> None:
        for_good = reason in (ExitReason.DISMISSED, ExitReason.SUPERSEDED)
        if self._leaving is not None and not for_good:
            return
        self._leaving = reason
        if self._queued:
            self._give_back(self._queued.clear())
        if reason is ExitReason.DISMISSED:
            self._forget(tuple(report.id for report in self._ledger))
        for lane in self._lanes:
            self._stop(lane, now, at_once=for_good or lane.lease is None)

    # --- after every stimulus ------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._enforce_time(now)
        if self._leaving is None:
            self._retire_lanes(now)
            self._spawn(now)
            self._dispatch(now)
            alive = all(lane.state in (LaneState.IDLE, LaneState.BUSY) for lane in self._lanes)
            self._warmed = self._warmed or (self._configured and alive)
        elif all(lane.state is LaneState.EMPTY for lane in self._lanes):
            self._exited = True
        settle_now = not self._connected or self._leaving is not None
        self._commands.extend(Spool(report) for report in self._ledger.to_spool(now, all_of_them=settle_now))
        self._say_wants(now)
        if self._exited and self._leaving is not None:
            self._commands.append(Exit(self._leaving))

    def _enforce_time(self, now: float) -> None:
        silent = not self._connected and self._orphan_timeout_s is not None
        if silent and self._leaving is None and now >= self._contact + (self._orphan_timeout_s or 0.0):
            self._leave(ExitReason.ORPHANED, now)
        for lane in self._lanes:
            if lane.timeout_at is not None and now >= lane.timeout_at and lane.lease is not None:
                message = f"ran past its timeout of {lane.lease.timeout_s:g} s and was stopped"
                lane.verdict = Verdict(wire.TIMED_OUT, Failure(wire.TIMED_OUT, message))
                self._stop(lane, now, at_once=False)
            elif lane.kill_at is not None and now >= lane.kill_at:
                self._stop(lane, now, at_once=True)

    def _retire_lanes(self, now: float) -> None:
        """Lanes over the wanted number go as soon as they are free, from the end."""
        for lane in self._lanes[self._wanted_lanes :]:
            if lane.lease is None and lane.state is not LaneState.STOPPING:
                self._stop(lane, now, at_once=True)
        while len(self._lanes) > self._wanted_lanes and self._lanes[-1].state is LaneState.EMPTY:
            self._lanes.pop()

    def _spawn(self, now: float) -> None:
        while len(self._lanes) < self._wanted_lanes:
            self._lanes.append(Lane(len(self._lanes), respawn_at=now))
        for lane in self._lanes[: self._wanted_lanes]:
            if lane.state is LaneState.EMPTY and now >= lane.respawn_at:
                lane.start()
                self._commands.append(SpawnChild(lane.index, lane.child))

    def _dispatch(self, now: float) -> None:
        """Give each idle lane the oldest lease whose function is here."""
        begun = []
        for lane in self._lanes[: self._wanted_lanes]:
            if not self._queued.has_ready:
                break
            if lane.state is not LaneState.IDLE:
                continue
            lease = self._queued.take()
            lane.run(lease, now)
            begun.append(lease.id)
            self._commands.append(RunAttempt(lane.index, lane.child, lease, self._shelf.take(lease.function)))
        if begun and self._connected:
            self._commands.append(Send(Started(tuple(begun))))

    def _say_wants(self, now: float) -> None:
        if not self._connected:
            return
        missing = self._queued.missing()
        if missing or self._asked:
            due = sorted(
                digest for digest in missing if self._asked.get(digest, now - ASK_AGAIN_S) + ASK_AGAIN_S <= now
            )
            self._asked = {digest: now if digest in due else self._asked[digest] for digest in missing}
            if due:
                self._commands.append(Send(NeedFunctions(tuple(due))))
        capacity = self._capacity(now)
        idle = sum(1 for lane in self._lanes[: self._wanted_lanes] if lane.state is LaneState.IDLE)
        if is_worth_saying(capacity, self._credit, idle=idle):
            self._credit = capacity
            self._commands.append(Send(Want(capacity, self._received)))

    def _capacity(self, now: float) -> int:
        """Attempts it could take now: one for each lane, and about AHEAD_S of work behind each that is not at a slow one."""
        behind = len(self._ledger) >= MAX_UNACKNOWLEDGED or self._ledger.held_bytes >= MAX_UNACKNOWLEDGED_BYTES
        if behind or not self._schedulable or not self.ready:
            return 0
        lanes = self._lanes[: self._wanted_lanes]
        slow = sum(1 for lane in lanes if lane.lease is not None and self._pace.is_slow(now - lane.began_at))
        held = len(self._queued) + self.busy
        return max(0, self._wanted_lanes + (len(lanes) - slow) * self._pace.ahead() - held)

    def _report(self, report: Report, now: float) -> None:
        self._ledger.add(report, now)
        if self._connected:
            self._commands.append(Deliver(report))

    def _lane(self, index: int, child: int) -> Lane | None:
        """The lane of this child, unless the child was replaced since."""
        lane = self._lanes[index] if index < len(self._lanes) else None
        return lane if lane is not None and lane.child == child else None

    def _lane_of(self, attempt: AttemptId) -> Lane | None:
        return next((lane for lane in self._lanes if lane.lease is not None and lane.lease.id == attempt), None)
