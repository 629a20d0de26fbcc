"""The agent's mind when something about itself changes: another version of it, another kind of child; and a task with too many
processes."""

from __future__ import annotations

from dataclasses import replace

from skyward_agent.states.asking import MAX_UNACKNOWLEDGED
from skyward_agent.states.commands import Exit, ExitReason, RunAttempt, SpawnChild, StopChild
from skyward_agent.states.machine import UPDATE_PATIENCE_S
from skyward_agent.states.stimuli import Configured, ProcessesExceeded, Tick, Updated
from skyward_agent.wire import messages as wire
from tests.agent.test_states import CONFIGURE, Bench, lease, only, reports, returned, wants

ONE_LANE = replace(CONFIGURE, lanes=1)


def test_an_idle_agent_makes_way_for_another_version_at_once() -> None:
    bench = Bench()
    bench.join(ONE_LANE)

    stopped = bench.tell(Updated())
    gone = bench.die(0, 1)

    assert only(stopped, StopChild) == [StopChild(0, 1, kill=True)]
    assert only(gone, Exit) == [Exit(ExitReason.UPDATED)]


def test_a_busy_agent_goes_on_and_makes_way_in_the_first_moment_in_which_nothing_runs() -> None:
    bench = Bench()
    bench.join(ONE_LANE)
    (run,) = only(bench.give(lease(1)), RunAttempt)

    bench.tell(Updated())
    (next_run,) = only(bench.give(lease(2)), RunAttempt) or only(bench.finish(run), RunAttempt)
    ended = bench.finish(next_run)

    assert [report.id.item for report in reports(ended)] == [2], "what runs ends as it would have"
    assert only(ended, StopChild) == [StopChild(0, 1, kill=True)]
    assert only(bench.die(0, 1), Exit) == [Exit(ExitReason.UPDATED)]


def test_an_agent_that_never_idles_takes_no_more_work_after_a_while() -> None:
    bench = Bench()
    bench.join(ONE_LANE)
    (run,) = only(bench.give(lease(1)), RunAttempt)
    bench.give(lease(2))
    bench.tell(Updated())
    assert bench.machine.deadline() == bench.now + UPDATE_PATIENCE_S

    bench.now += UPDATE_PATIENCE_S
    due = bench.tell(Tick())
    late = bench.give(lease(3))
    ended = bench.finish(run)

    assert returned(due) == [2]
    assert not any(wants(due) + wants(late) + wants(ended))
    assert returned(late) == [3]
    assert [report.id.item for report in reports(ended)] == [1]
    assert only(bench.die(0, 1), Exit) == [Exit(ExitReason.UPDATED)]


def test_another_executor_replaces_idle_children_at_once_and_busy_ones_when_they_are_free() -> None:
    bench = Bench()
    bench.join()
    (run,) = only(bench.give(lease(1)), RunAttempt)

    changed = bench.tell(Configured(replace(CONFIGURE, executor=wire.THREAD)))
    idle = 1 - run.lane
    replaced = bench.die(idle, 1)
    given = bench.give(lease(2))
    freed = bench.finish(run)

    assert only(changed, StopChild) == [StopChild(idle, 1, kill=True)]
    assert only(replaced, SpawnChild) == [SpawnChild(idle, 2, wire.THREAD)]
    assert [one.lane for one in only(given, RunAttempt)] == [idle], "nothing new for a child of the old kind"
    assert only(freed, StopChild) == [StopChild(run.lane, 1, kill=True)]


def test_too_many_processes_kill_at_once_and_name_both_figures() -> None:
    bench = Bench()
    bench.join(ONE_LANE)
    bench.give(lease(1))

    stopped = bench.tell(ProcessesExceeded(0, 1, 100, 250))
    (report,) = reports(bench.die(0, 1))

    assert only(stopped, StopChild) == [StopChild(0, 1, kill=True)]
    assert report.outcome == wire.CHILD_DIED
    assert report.failure is not None
    assert "250 processes" in report.failure.message
    assert report.failure.evidence["limit_processes"] == "100"


def test_an_agent_whose_reports_nobody_acknowledges_asks_for_no_more() -> None:
    bench = Bench()
    bench.join(ONE_LANE)
    said = []
    for number in range(MAX_UNACKNOWLEDGED):
        (run,) = only(bench.give(lease(number)), RunAttempt)
        said += wants(bench.finish(run))

    assert said[-1] == 0
