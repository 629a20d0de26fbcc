"""The agent's mind: `handle(stimulus, now)` gives commands; nothing here touches a process, a socket or a clock.

The story of an attempt: leased → queued (its function may still be on the way) → with the child of one lane, running or
waiting behind another → reported → acknowledged. Whatever ends it, exactly one report is made, and kept until the gateway
acknowledges it; an attempt that the gateway says is no longer ours ends without one, and so does one that was given back
before it began. Time is monotonic seconds, given by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable

from skyward_agent.states import verdicts
from skyward_agent.states.appetite import Pace
from skyward_agent.states.asking import Asking
from skyward_agent.states.backlog import Backlog
from skyward_agent.states.commands import (
    Command,
    Deliver,
    Exit,
    ExitReason,
    Forget,
    Send,
    Spool,
)
from skyward_agent.states.crew import Crew
from skyward_agent.states.lanes import LaneState
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
    Disowned,
    FunctionsArrived,
    Leased,
    MemoryExceeded,
    ProcessesExceeded,
    Recalled,
    Stimulus,
    Superseded,
    TakenBack,
    Terminated,
    Tick,
    Updated,
    Welcomed,
)
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import (
    AttemptId,
    Configure,
    Lease,
    Report,
    Returned,
    Started,
)

UPDATE_PATIENCE_S = 60.0
"""How long another version of the agent waits for a moment in which nothing runs; from then on no more work is taken."""
SHELF_BYTES = 256 * 1024 * 1024
SHELF_COUNT = 1024


class AgentMachine:
    """One agent's state. Same stimuli at the same times, same commands."""

    def __init__(self, *, cpus: int, now: float, spooled: Iterable[Report] = (), orphan_timeout_s: float | None = None):
        self._cpus = max(1, cpus)
        self._crew = Crew()
        self._configured = False
        self._warmed = False
        self._schedulable = False
        self._connected = False
        self._contact = now
        self._orphan_timeout_s = orphan_timeout_s
        self._pace = Pace()
        self._queued = Backlog()
        self._shelf = FunctionShelf(limit_bytes=SHELF_BYTES, limit_count=SHELF_COUNT)
        self._ledger = Ledger(spooled)
        self._asking = Asking(self._crew, self._queued, self._ledger, self._pace)
        self._deferred: list[Stimulus] = []
        """What can be decided only when it is known what a child has begun."""
        self._update_due: float | None = None
        """Another version of the agent is in place; from then on it has waited long enough."""
        self._makes_way = False
        self._leaving: ExitReason | None = None
        self._exited = False
        self._commands = self._crew.commands

    # --- what may be asked of it ---------------------------------------------------------------------------------

    def held(self) -> tuple[AttemptId, ...]:
        """Attempts this agent holds: queued, with a child, or reported and not acknowledged."""
        return (*self._queued, *self._crew.held(), *(report.id for report in self._ledger))

    @property
    def lanes(self) -> int:
        return self._crew.wanted

    @property
    def busy(self) -> int:
        return self._crew.busy

    @property
    def ready(self) -> bool:
        """Its children were all warm once, it goes on, and it is able to start children."""
        return self._warmed and self._leaving is None and not self.problem

    @property
    def problem(self) -> str:
        """Why children do not start, when none does."""
        return self._crew.problem

    def deadline(self) -> float | None:
        """When a Tick is due, if nothing else happens before."""
        times = [*self._crew.deadlines(self._pace, is_leaving=self._leaving is not None), self._ledger.next_spool()]
        if not self._connected and self._orphan_timeout_s is not None and self._leaving is None:
            times.append(self._contact + self._orphan_timeout_s)
        if self._connected:
            times.append(self._asking.deadline())
        if not self._makes_way and self._leaving is None:
            times.append(self._update_due)
        return min((time for time in times if time is not None), default=None)

    def handle(self, stimulus: Stimulus, now: float) -> list[Command]:
        """Take in one thing that happened; the commands are to be carried out in order."""
        self._commands = self._crew.commands = []
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
            case TakenBack():
                self._taken_back(stimulus, now)
            case ChildReady(lane, child):
                self._child_ready(lane, child)
            case ChildDied():
                self._child_died(stimulus, now)
            case MemoryExceeded():
                self._exceeded(stimulus, verdicts.out_of_memory(stimulus), now)
            case ProcessesExceeded():
                self._exceeded(stimulus, verdicts.too_many_processes(stimulus), now)
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
            case Disowned(attempts):
                self._disown(attempts, now)
            case Recalled(attempts):
                if not self._must_wait_for(attempts, stimulus):
                    self._give_back(self._queued.remove_all(attempts))
            case Dismissed():
                self._leave(ExitReason.DISMISSED, now)
            case Updated():
                self._update_due = now + UPDATE_PATIENCE_S if self._update_due is None else self._update_due
            case Superseded():
                self._leave(ExitReason.SUPERSEDED, now)
            case Terminated():
                self._leave(ExitReason.TERMINATED, now)

    def _welcomed(self, configure: Configure, abandon: tuple[AttemptId, ...], now: float) -> None:
        self._connected = True
        self._asking.connected()
        self._forget(abandon)
        self._disown(abandon, now)
        self._configure(configure)
        given = tuple(self._crew.held())
        if given:
            self._commands.append(Send(Started(given)))
        self._commands.extend(Deliver(report) for report in self._ledger)

    def _disconnected(self, now: float) -> None:
        if self._connected:
            self._connected = False
            self._contact = now

    def _configure(self, configure: Configure) -> None:
        self._schedulable = configure.schedulable
        self._orphan_timeout_s = configure.orphan_timeout_s
        if self._leaving is not None:
            return
        self._configured = True
        self._crew.wanted = configure.lanes if configure.lanes > 0 else self._cpus
        self._crew.executor = configure.executor
        if not self._schedulable:
            self._give_all_back()

    def _leased(self, leases: tuple[Lease, ...], functions: tuple[wire.Function, ...]) -> None:
        self._asking.received(len(leases))
        self._put_functions(functions)
        if self._leaving is not None or not self._schedulable or self._makes_way:
            self._give_back(tuple(lease.id for lease in leases))
            return
        known = set(self.held())
        for lease in leases:
            if lease.id not in known:
                self._queued.add(lease, self._shelf)

    def _give_all_back(self) -> None:
        """All that has not begun; what a child must be asked for follows when it has answered."""
        if self._queued:
            self._give_back(self._queued.clear())
        for lane in self._crew:
            self._crew.fetch(lane)

    def _give_back(self, attempts: tuple[AttemptId, ...]) -> None:
        """These will never begin here. One that the gateway does not hear of is missing in the next greeting."""
        if self._connected:
            self._commands.append(Send(Returned(attempts)))

    def _put_functions(self, functions: tuple[wire.Function, ...]) -> None:
        if functions:
            needed = self._queued.functions()
            for function in functions:
                self._shelf.put(function, needed)
                self._asking.came(function.digest)
            self._queued.sort_out(self._shelf)

    def _forget(self, attempts: tuple[AttemptId, ...]) -> None:
        for attempt in attempts:
            if self._ledger.remove(attempt):
                self._commands.append(Forget(attempt))

    def _abandon(self, attempts: tuple[AttemptId, ...], reason: str, now: float) -> None:
        if self._must_wait_for(attempts, Abandoned(attempts, reason)):
            return
        verdict = verdicts.cancelled(reason)
        for attempt in attempts:
            if self._queued.remove(attempt):
                self._report(Report(attempt, verdict.outcome, failure=verdict.failure), now)
            elif (lane := self._crew.at(attempt)) is not None:
                lane.verdict = verdict
                self._crew.stop(lane, now, at_once=False)

    def _disown(self, attempts: tuple[AttemptId, ...], now: float) -> None:
        """These are no longer ours: they end without a report."""
        if self._must_wait_for(attempts, Disowned(attempts)):
            return
        for attempt in attempts:
            self._queued.remove(attempt)
            lane = self._crew.at(attempt)
            if lane is not None:
                lane.lease = None
                self._crew.stop(lane, now, at_once=False)

    # --- what a child has not begun ------------------------------------------------------------------------------

    def _must_wait_for(self, attempts: tuple[AttemptId, ...], stimulus: Stimulus) -> bool:
        """Whether some of these are with a child that may or may not have begun them, or that may have gone on to another
        one: the stimulus is taken up again when that is known."""
        wanted = set(attempts)
        lanes = [lane for lane in self._crew if lane.waiting and not wanted.isdisjoint(lane.held())]
        for lane in lanes:
            self._crew.fetch(lane)
        if lanes:
            self._deferred.append(stimulus)
        return bool(lanes)

    def _taken_back(self, said: TakenBack, now: float) -> None:
        lane = self._crew.of_child(said.lane, said.child)
        if lane is None:
            return
        self._queued.put_first(lane.took_back(frozenset(said.attempts), wrote=said.wrote))
        deferred, self._deferred = self._deferred, []
        for stimulus in deferred:
            self._take(stimulus, now)
        if self._leaving is not None or not self._schedulable or self._makes_way:
            self._give_back(self._queued.clear())

    # --- children ------------------------------------------------------------------------------------------------

    def _child_ready(self, index: int, child: int) -> None:
        lane = self._crew.of_child(index, child)
        if lane is not None and lane.state is LaneState.STARTING:
            lane.failed_starts = 0
            lane.rest()

    def _child_finished(self, said: ChildFinished, now: float) -> None:
        lane = self._crew.of_child(said.lane, said.child)
        if lane is None or lane.lease is None or lane.state not in (LaneState.BUSY, LaneState.STOPPING):
            return
        if lane.state is LaneState.STOPPING:  # its verdict stands; what is left of its tree needs no more grace
            self._crew.stop(lane, now, at_once=True)
            return
        self._report(Report(lane.lease.id, said.outcome, said.value, said.failure, said.seconds), now)
        self._pace.took(said.busy_s or now - lane.began_at)
        lane.lease = None
        if said.clean:
            lane.go_on(now)
        else:
            self._crew.stop(lane, now, at_once=True)

    def _child_died(self, said: ChildDied, now: float) -> None:
        lane = self._crew.of_child(said.lane, said.child)
        if lane is None or lane.state is LaneState.EMPTY:
            return
        self._queued.put_first(lane.took_back(frozenset(said.unbegun)))
        if lane.lease is not None and self._leaving is None:
            self._report(verdicts.at_death(lane.lease.id, lane.verdict, said), now)
        lane.empty(now, said.failure.message)

    def _exceeded(self, said: MemoryExceeded | ProcessesExceeded, verdict: verdicts.Verdict, now: float) -> None:
        lane = self._crew.of_child(said.lane, said.child)
        if lane is None or lane.state is not LaneState.BUSY or lane.lease is None:
            return
        if not self._must_wait_for((lane.lease.id,), said):
            lane.verdict = verdict
            self._crew.stop(lane, now, at_once=True)

    # --- leaving -------------------------------------------------------------------------------------------------

    def _leave(self, reason: ExitReason, now: float) -> None:
        for_good = reason in (ExitReason.DISMISSED, ExitReason.SUPERSEDED)
        if self._leaving is not None and not for_good:
            return
        self._leaving = reason
        self._give_all_back()
        if reason is ExitReason.DISMISSED:
            self._forget(tuple(report.id for report in self._ledger))
        for lane in self._crew:
            self._crew.stop(lane, now, at_once=for_good or lane.lease is None)

    def _make_way(self, due: float, now: float) -> None:
        """For another version of the agent: as soon as nothing runs, which is brought about once it has waited for long."""
        if now >= due:
            self._makes_way = True
            self._give_all_back()
        if not self._crew.busy and not self._queued:
            self._leave(ExitReason.UPDATED, now)

    # --- after every stimulus ------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._enforce_time(now)
        if self._update_due is not None and self._leaving is None:
            self._make_way(self._update_due, now)
        if self._leaving is None:
            self._crew.resize(now)
            given = self._crew.dispatch(self._queued, self._shelf, self._pace, now)
            if given and self._connected:
                self._commands.append(Send(Started(given)))
            self._warmed = self._warmed or (self._configured and self._crew.is_alive)
        elif self._crew.is_gone:
            self._exited = True
        settle_now = not self._connected or self._leaving is not None
        self._commands.extend(Spool(report) for report in self._ledger.to_spool(now, all_of_them=settle_now))
        self._ask(now)
        if self._exited and self._leaving is not None:
            self._commands.append(Exit(self._leaving))

    def _enforce_time(self, now: float) -> None:
        silent = not self._connected and self._orphan_timeout_s is not None
        if silent and self._leaving is None and now >= self._contact + (self._orphan_timeout_s or 0.0):
            self._leave(ExitReason.ORPHANED, now)
        for lane in self._crew:
            if lane.timeout_at is not None and now >= lane.timeout_at and lane.lease is not None:
                if lane.waiting:  # its child may have gone on to the next one just now
                    self._crew.fetch(lane)
                    continue
                lane.verdict = verdicts.timed_out(lane.lease)
                self._crew.stop(lane, now, at_once=False)
            elif lane.kill_at is not None and now >= lane.kill_at:
                self._crew.stop(lane, now, at_once=True)

    def _ask(self, now: float) -> None:
        if self._connected:
            may_take = self._schedulable and self.ready and not self._makes_way
            self._commands.extend(Send(one) for one in self._asking.due(now, may_take=may_take))

    def _report(self, report: Report, now: float) -> None:
        self._ledger.add(report, now)
        if self._connected:
            self._commands.append(Deliver(report))
