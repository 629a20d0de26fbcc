"""The agent's mind, alone: examples of each story, and properties over random ones."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from typing import Any

import pytest

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
    TakeBack,
)
from skyward_agent.states.machine import AgentMachine
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
    TakenBack,
    Terminated,
    Tick,
    Welcomed,
)
from skyward_agent.wire import messages as wire
from skyward_agent.wire.messages import (
    AttemptId,
    Configure,
    Failure,
    Function,
    Lease,
    NeedFunctions,
    Report,
    Returned,
    Want,
)

DATA = b"function"
DIGEST = hashlib.sha256(DATA).hexdigest()
CONFIGURE = Configure(
    "node", "default/pool", lanes=2, env={}, schedulable=True, rank=0, world=(), orphan_timeout_s=60.0
)


def lease(number: int, **fields: Any) -> Lease:
    return replace(Lease(AttemptId("task", number, 1, "secret"), DIGEST, b""), **fields)


class Bench:
    """A machine, its clock, and children that get ready as soon as they are spawned."""

    def __init__(self, **fields: Any) -> None:
        self.now = 100.0
        self.machine = AgentMachine(cpus=4, now=self.now, **fields)
        self.given: dict[int, list[AttemptId]] = {}
        """By lane: what its child has. It begins the first, and no other before that ended."""

    def tell(self, stimulus: Stimulus) -> list[Command]:
        commands = self.machine.handle(stimulus, self.now)
        for command in tuple(commands):
            match command:
                case SpawnChild(lane, child):
                    commands = [*commands, *self.tell(ChildReady(lane, child))]
                case RunAttempt(lane, _, one, _):
                    self.given.setdefault(lane, []).append(one.id)
                case TakeBack(lane, child):
                    waiting, self.given[lane] = tuple(self.given[lane][1:]), self.given[lane][:1]
                    commands = [*commands, *self.tell(TakenBack(lane, child, waiting))]
        return commands

    def join(self, configure: Configure = CONFIGURE, abandon: tuple[AttemptId, ...] = ()) -> list[Command]:
        return self.tell(Welcomed(configure, abandon))

    def give(self, *leases: Lease) -> list[Command]:
        return self.tell(Leased(leases, (Function(DIGEST, DATA),)))

    def finish(self, run: RunAttempt, *, clean: bool = True) -> list[Command]:
        self.given[run.lane] = [one for one in self.given[run.lane] if one != run.lease.id]
        return self.tell(ChildFinished(run.lane, run.child, wire.SUCCEEDED, b"v", None, 0.1, clean))

    def die(self, lane: int, child: int) -> list[Command]:
        failure = Failure(wire.CHILD_DIED, "exited", evidence={"exit_code": "1"})
        unbegun = tuple(self.given.get(lane, [])[1:])
        return self.tell(ChildDied(lane, child, wire.CHILD_DIED, failure, 0.1, unbegun))


def only(commands: list[Command], kind: type[Any]) -> list[Any]:
    return [command for command in commands if isinstance(command, kind)]


def wants(commands: list[Command]) -> list[int]:
    return [send.message.capacity for send in only(commands, Send) if isinstance(send.message, Want)]


def returned(commands: list[Command]) -> list[int]:
    said = [send.message for send in only(commands, Send) if isinstance(send.message, Returned)]
    return [attempt.item for message in said for attempt in message.attempts]


def reports(commands: list[Command]) -> list[Report]:
    return [deliver.report for deliver in only(commands, Deliver)]


def test_spawns_its_lanes_and_wants_twice_as_much_once_they_are_warm() -> None:
    bench = Bench()

    commands = bench.join()

    assert [(spawn.lane, spawn.child) for spawn in only(commands, SpawnChild)] == [(0, 1), (1, 1)]
    assert wants(commands) == [4]
    assert bench.machine.ready


def test_lanes_of_zero_mean_one_for_each_cpu() -> None:
    bench = Bench()

    commands = bench.join(replace(CONFIGURE, lanes=0))

    assert len(only(commands, SpawnChild)) == 4


def test_wants_nothing_before_its_children_are_warm() -> None:
    machine = AgentMachine(cpus=2, now=0.0)

    commands = machine.handle(Welcomed(CONFIGURE, ()), 0.0)

    assert not machine.ready
    assert not wants(commands)


def test_an_unschedulable_agent_wants_nothing_and_goes_on_with_what_it_has() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1)), RunAttempt)

    commands = bench.tell(Configured(replace(CONFIGURE, schedulable=False)))

    assert wants(commands) == [0]
    assert not only(commands, StopChild)
    assert [report.outcome for report in reports(bench.finish(run))] == [wire.SUCCEEDED]


def test_runs_leases_in_order_one_for_each_lane() -> None:
    bench = Bench()
    bench.join()

    runs = only(bench.give(lease(1), lease(2), lease(3)), RunAttempt)
    after = only(bench.finish(runs[0]), RunAttempt)

    assert [(run.lane, run.lease.id.item) for run in runs] == [(0, 1), (1, 2)]
    assert [(run.lane, run.lease.id.item) for run in after] == [(0, 3)]


def test_news_of_a_replaced_child_changes_nothing() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    (old,) = only(bench.give(lease(1)), RunAttempt)
    bench.die(old.lane, old.child)
    (new,) = only(bench.give(lease(2)), RunAttempt)

    late = [*bench.finish(old), *bench.die(old.lane, old.child), *bench.tell(MemoryExceeded(old.lane, old.child, 1, 2))]

    assert late == []
    assert [report.id.item for report in reports(bench.finish(new))] == [2]


def test_says_what_it_wants_only_when_the_gateway_cannot_know() -> None:
    bench = Bench()
    bench.join()

    given = bench.give(lease(1), lease(2), lease(3))
    bench.now += 1.0
    finished = bench.finish(only(given, RunAttempt)[0])

    assert wants(given) == []
    assert wants(finished) == [2]


def test_holds_about_ten_milliseconds_of_measured_work_ahead_of_each_lane() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    (run,) = only(bench.give(lease(1)), RunAttempt)

    bench.now += 0.001
    measured = bench.finish(run)

    assert wants(measured) == [11]


def test_wants_nothing_behind_an_attempt_that_turns_out_slow() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    (run,) = only(bench.give(lease(1)), RunAttempt)
    bench.now += 0.001
    bench.finish(run)
    bench.give(lease(2), lease(3))

    bench.now += 0.5
    recalled = bench.tell(Recalled((lease(3).id,)))

    assert returned(recalled) == [3]
    assert wants(recalled) == [0]


def test_gives_back_what_is_recalled_and_has_not_begun_and_says_so_even_when_it_is_nothing() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    (run,) = only(bench.give(lease(1), lease(2), lease(3)), RunAttempt)

    some = bench.tell(Recalled((lease(1).id, lease(3).id, lease(9).id)))
    none = bench.tell(Recalled((lease(1).id,)))
    after = bench.finish(run)

    assert returned(some) == [3]
    assert Returned(()) in [send.message for send in only(none, Send)]
    assert [one.lease.id.item for one in only(after, RunAttempt)] == [2]
    assert bench.machine.held() == (lease(2).id, lease(1).id)


@pytest.mark.parametrize(
    "stimulus",
    [Configured(replace(CONFIGURE, lanes=1, schedulable=False)), Dismissed(""), Terminated()],
    ids=["cordoned", "dismissed", "told-to-end"],
)
def test_what_has_not_begun_is_given_back_by_an_agent_that_may_not_run_it(stimulus: Stimulus) -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    bench.give(lease(1), lease(2))

    at_once = bench.tell(stimulus)
    late = bench.give(lease(3))

    assert returned(at_once) == [2]
    assert returned(late) == [3]


def test_the_same_lease_again_is_not_run_again() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1)), RunAttempt)

    while_running = bench.give(lease(1))
    bench.finish(run)
    when_reported = bench.give(lease(1))

    assert not only(while_running, RunAttempt)
    assert not only(when_reported, RunAttempt)


def test_asks_for_a_function_it_lacks_and_runs_once_it_came() -> None:
    bench = Bench()
    bench.join()

    asked = bench.tell(Leased((lease(1),), ()))
    came = bench.tell(FunctionsArrived((Function(DIGEST, DATA),)))

    assert [send.message for send in only(asked, Send) if isinstance(send.message, NeedFunctions)] == [
        NeedFunctions((DIGEST,))
    ]
    assert [run.function for run in only(came, RunAttempt)] == [DATA]


def test_a_function_whose_bytes_are_not_its_digest_is_asked_for_again() -> None:
    bench = Bench()
    bench.join()
    bench.tell(Leased((lease(1),), ()))

    commands = bench.tell(FunctionsArrived((Function(DIGEST, b"other"),)))

    assert not only(commands, RunAttempt)
    assert [send.message for send in only(commands, Send)] == [NeedFunctions((DIGEST,))]


def test_a_timeout_asks_then_kills_then_reports_with_evidence() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1, timeout_s=5.0)), RunAttempt)

    bench.now += 5.0
    asked = bench.tell(Tick())
    bench.now += 2.0
    killed = bench.tell(Tick())
    commands = bench.die(run.lane, run.child)

    assert only(asked, StopChild) == [StopChild(0, 1, kill=False)]
    assert only(killed, StopChild) == [StopChild(0, 1, kill=True)]
    (report,) = reports(commands)
    assert report.outcome == wire.TIMED_OUT
    assert report.failure is not None
    assert "5 s" in report.failure.message
    assert report.failure.evidence == {"exit_code": "1"}
    assert only(commands, SpawnChild) == [SpawnChild(0, 2)]


def test_an_answer_after_the_timeout_does_not_change_the_verdict() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1, timeout_s=5.0)), RunAttempt)
    bench.now += 5.0
    bench.tell(Tick())

    answered = bench.finish(run)
    died = bench.die(run.lane, run.child)

    assert reports(answered) == []
    assert only(answered, StopChild) == [StopChild(0, 1, kill=True)]
    assert [report.outcome for report in reports(died)] == [wire.TIMED_OUT]


def test_memory_past_the_limit_kills_at_once_and_names_both_figures() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1)), RunAttempt)

    killed = bench.tell(MemoryExceeded(run.lane, run.child, 100, 150))
    (report,) = reports(bench.die(run.lane, run.child))

    assert only(killed, StopChild) == [StopChild(0, 1, kill=True)]
    assert report.outcome == wire.OUT_OF_MEMORY
    assert report.failure is not None
    assert report.failure.evidence == {"exit_code": "1", "limit_bytes": "100", "peak_bytes": "150"}


def test_an_abandoned_attempt_is_reported_cancelled_whether_queued_or_running() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    (run,) = only(bench.give(lease(1), lease(2)), RunAttempt)

    commands = bench.tell(Abandoned((lease(1).id, lease(2).id), "the user said so"))
    died = bench.die(run.lane, run.child)

    assert [(report.id.item, report.outcome) for report in reports(commands)] == [(2, wire.CANCELLED)]
    assert only(commands, StopChild) == [StopChild(0, 1, kill=False)]
    assert [(report.id.item, report.outcome) for report in reports(died)] == [(1, wire.CANCELLED)]


def test_attempts_abandoned_on_joining_end_without_a_report() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    (run,) = only(bench.give(lease(1), lease(2)), RunAttempt)
    bench.tell(Disconnected())

    commands = bench.join(replace(CONFIGURE, lanes=1), abandon=(lease(1).id, lease(2).id))
    died = bench.die(run.lane, run.child)

    assert only(commands, StopChild) == [StopChild(0, 1, kill=False)]
    assert not reports(commands)
    assert not reports(died)
    assert bench.machine.held() == ()


def test_a_child_in_which_something_lives_on_is_replaced_after_its_report() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1)), RunAttempt)

    commands = bench.finish(run, clean=False)
    died = bench.die(run.lane, run.child)

    assert [report.outcome for report in reports(commands)] == [wire.SUCCEEDED]
    assert only(commands, StopChild) == [StopChild(0, 1, kill=True)]
    assert only(died, SpawnChild) == [SpawnChild(0, 2)]
    assert not reports(died)


def test_unacknowledged_reports_are_said_again_on_each_joining_until_acknowledged() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1)), RunAttempt)
    bench.finish(run)
    bench.tell(Disconnected())

    again = bench.join()
    acknowledged = bench.tell(Acknowledged((lease(1).id,)))
    bench.tell(Disconnected())

    assert [report.id.item for report in reports(again)] == [1]
    assert only(acknowledged, Forget) == [Forget(lease(1).id)]
    assert reports(bench.join()) == []


def test_a_report_is_spooled_at_once_when_disconnected_and_soon_when_not_acknowledged() -> None:
    bench = Bench()
    bench.join()
    first, second = only(bench.give(lease(1), lease(2)), RunAttempt)

    at_once = bench.finish(first)
    bench.now += 0.25
    later = bench.tell(Tick())
    bench.tell(Disconnected())
    alone = bench.finish(second)

    assert not only(at_once, Spool)
    assert [spool.report.id.item for spool in only(later, Spool)] == [1]
    assert [spool.report.id.item for spool in only(alone, Spool)] == [2]


def test_what_an_earlier_incarnation_spooled_is_held_and_reported() -> None:
    left = Report(lease(7).id, wire.SUCCEEDED, b"v")
    bench = Bench(spooled=(left,))

    held = bench.machine.held()
    commands = bench.join()

    assert held == (left.id,)
    assert reports(commands) == [left]


def test_says_anew_what_runs_when_it_comes_back() -> None:
    bench = Bench()
    bench.join()
    bench.give(lease(1))
    bench.tell(Disconnected())

    commands = bench.join()

    assert wire.Started((lease(1).id,)) in [send.message for send in only(commands, Send)]


def test_goes_when_its_operator_is_silent_for_longer_than_the_pool_allows() -> None:
    bench = Bench()
    bench.join()
    bench.tell(Disconnected())

    bench.now += 59.0
    before = bench.tell(Tick())
    bench.now += 1.0
    bench.tell(Tick())
    bench.die(0, 1)
    commands = bench.die(1, 1)

    assert not before
    assert only(commands, Exit) == [Exit(ExitReason.ORPHANED)]


def test_dismissal_kills_at_once_forgets_reports_and_exits_when_all_are_gone() -> None:
    bench = Bench()
    bench.join()
    runs = only(bench.give(lease(1), lease(2), lease(3)), RunAttempt)
    bench.finish(runs[0])

    commands = bench.tell(Dismissed("deleted"))
    first = bench.die(0, 1)
    last = bench.die(1, 1)

    assert only(commands, StopChild) == [StopChild(0, 1, kill=True), StopChild(1, 1, kill=True)]
    assert only(commands, Forget) == [Forget(lease(1).id)]
    assert not only(first, Exit)
    assert only(last, Exit) == [Exit(ExitReason.DISMISSED)]
    assert not reports([*first, *last])


def test_termination_spools_what_is_finished_and_reports_nothing_of_what_it_stopped() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))
    runs = only(bench.give(lease(1), lease(2)), RunAttempt)
    bench.finish(runs[0])

    commands = bench.tell(Terminated())
    died = bench.die(0, 1)

    assert [spool.report.id.item for spool in only(commands, Spool)] == [1]
    assert only(commands, StopChild) == [StopChild(0, 1, kill=False)]
    assert not reports(died)
    assert only(died, Exit) == [Exit(ExitReason.TERMINATED)]


def test_a_superseded_agent_exits() -> None:
    bench = Bench()
    bench.join(replace(CONFIGURE, lanes=1))

    bench.tell(Superseded())

    assert only(bench.die(0, 1), Exit) == [Exit(ExitReason.SUPERSEDED)]


def test_children_that_do_not_start_are_tried_ever_more_slowly_and_named_as_the_problem() -> None:
    machine = AgentMachine(cpus=1, now=0.0)
    now, starts = 0.0, []
    commands = machine.handle(Welcomed(replace(CONFIGURE, lanes=1), ()), now)
    for _ in range(6):
        (spawn,) = only(commands, SpawnChild)
        starts.append(now)
        machine.handle(ChildDied(0, spawn.child, wire.CHILD_DIED, Failure("ChildDied", "no module"), 0.0), now)
        deadline = machine.deadline()
        assert deadline is not None
        now = deadline
        commands = machine.handle(Tick(), now)

    assert [round(b - a, 3) for a, b in itertools.pairwise(starts)] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert machine.problem == "child processes do not start: no module"
    assert not machine.ready


def test_fewer_lanes_take_effect_as_lanes_get_free() -> None:
    bench = Bench()
    bench.join()
    first, second = only(bench.give(lease(1), lease(2)), RunAttempt)
    bench.now += 1.0

    narrowed = bench.tell(Configured(replace(CONFIGURE, lanes=1)))
    finished = bench.finish(second)
    bench.die(second.lane, second.child)

    assert not only(narrowed, StopChild)
    assert only(finished, StopChild) == [StopChild(1, 1, kill=True)]
    assert bench.machine.lanes == 1
    assert only(bench.give(lease(3)), RunAttempt) == []
    assert [run.lane for run in only(bench.finish(first), RunAttempt)] == [0]
