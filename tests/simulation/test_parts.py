"""The simulator's own rules: what a death leaves undone, what nobody may reach, and that shrinking keeps what was found."""

from __future__ import annotations

import ast
import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import FunctionType

import pytest

from tests.simulation.chance import Chance
from tests.simulation.checkers import Violation
from tests.simulation.command import shortfalls
from tests.simulation.coverage import POINTS, missing
from tests.simulation.faults import RATES, FaultPlan, Faults, choose_plan
from tests.simulation.guard import LeftTheSimulation, guarded
from tests.simulation.livelock import Livelock, ending_steps
from tests.simulation.loop import Schedule, SimLoop, Stuck
from tests.simulation.process import CrashPoint, Process, When
from tests.simulation.run import Outcome
from tests.simulation.scenario import Scenario, choose_scenario
from tests.simulation.shrink import shrink

OPERATOR = Path(__file__).parents[2] / "operator" / "skyward"
MakeLoop = Callable[[Schedule], SimLoop]


@pytest.fixture
def make_loop() -> Iterator[MakeLoop]:
    loops: list[SimLoop] = []

    def make(schedule: Schedule) -> SimLoop:
        loops.append(SimLoop(random.Random(1), schedule))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close()


@pytest.fixture
def loop(make_loop: MakeLoop) -> SimLoop:
    return make_loop(Schedule.FIFO)


def make_process(crash_at: CrashPoint | None = None) -> Process:
    return Process(1, crash_at=crash_at, on_death=lambda process, cause: None)


@pytest.mark.parametrize("schedule", Schedule)
def test_a_dead_process_runs_nothing_more_not_even_its_finally(make_loop: MakeLoop, schedule: Schedule) -> None:
    loop = make_loop(schedule)
    process = make_process()
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
            done.append("slept")
        finally:
            done.append("finally")

    async def main() -> None:
        process.start(loop, work)
        await asyncio.sleep(5)
        process.die("killed")
        await asyncio.sleep(100)

    loop.run_until_complete(main())

    assert done == []
    assert loop.time() == 105.0


def test_a_frozen_process_does_everything_later_in_the_order_in_which_it_was_due(loop: SimLoop) -> None:
    process = make_process()
    done: list[tuple[float, int]] = []

    async def work() -> None:
        for number in range(3):
            loop.call_later(1.0 + number, lambda number=number: done.append((loop.time(), number)))  # type: ignore[misc]
        await asyncio.sleep(100)

    async def main() -> None:
        process.start(loop, work)
        await asyncio.sleep(1.5)
        process.frozen = []
        await asyncio.sleep(8.5)
        loop.thaw(process)
        await asyncio.sleep(1)

    loop.run_until_complete(main())

    assert done == [(1.0, 0), (10.0, 1), (10.0, 2)]


def test_time_passes_only_when_nothing_is_left_to_do(loop: SimLoop) -> None:
    loop.run_until_complete(asyncio.sleep(86_400.0))

    assert loop.time() == 86_400.0


def test_a_world_in_which_everybody_waits_is_an_error(loop: SimLoop) -> None:
    with pytest.raises(Stuck):
        loop.run_until_complete(loop.create_future())


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize("pause_s", [0.0, 1e-12])
def test_a_world_in_which_somebody_never_rests_is_an_error_that_names_him(
    make_loop: MakeLoop, schedule: Schedule, pause_s: float
) -> None:
    async def fidget() -> None:
        for _ in count():
            await asyncio.sleep(pause_s)

    with pytest.raises(Livelock, match="fidget"):
        make_loop(schedule).run_until_complete(fidget())


def test_a_single_step_that_never_ends_is_an_error_that_names_it(loop: SimLoop) -> None:
    async def brood() -> None:
        for _ in count():
            pass

    with pytest.raises(Livelock) as told, ending_steps(loop, longest_s=0.05):
        loop.run_until_complete(brood())

    assert told.traceback[-2].name == "brood"


@pytest.mark.parametrize("when", When)
def test_a_process_dies_at_the_call_and_the_point_of_it_that_was_asked_for(when: When) -> None:
    process = make_process(CrashPoint(2, when))

    first, second = process.enter("one"), process.enter("two")

    assert [first(each) for each in When] == [False, False, False]
    assert [each for each in When if second(each)] == [when]
    assert process.dead
    assert process.cause == f"{when} two (call 2)"


def test_production_code_finds_no_clock_and_no_file_in_there() -> None:
    look = FunctionType((lambda: time.monotonic()).__code__, {"__name__": "skyward.something", "time": time})

    with guarded(), pytest.raises(LeftTheSimulation):
        look()
    with guarded(), pytest.raises(LeftTheSimulation):
        Path("/etc/hostname").read_bytes()
    assert look() > 0


@pytest.mark.parametrize("room", ["kit", "controllers", "queue", "intake", "gateway", "store"])
def test_nothing_is_done_in_the_order_of_a_set(room: str) -> None:
    """It differs from process to process, and a seed would not be the same run everywhere."""
    for path in sorted((OPERATOR / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.For):
                unordered = isinstance(node.iter, ast.Set | ast.SetComp) or (
                    isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func) in ("set", "frozenset")
                )
                assert not unordered, f"{path}:{node.lineno}: {ast.unparse(node.iter)}"


def test_a_kind_of_fault_strikes_alike_whatever_else_is_switched_on() -> None:
    every = FaultPlan(tuple((kind, 1.0) for kind in RATES))
    alone = FaultPlan((("slow", 1.0),))

    together = Faults(every, Chance(7))
    single = Faults(alone, Chance(7))

    struck = [(together.strikes("slow"), together.strikes("hang"))[0] for _ in range(200)]
    assert struck == [single.strikes("slow") for _ in range(200)]
    assert any(struck)


def test_every_seed_has_deaths_and_some_but_not_all_other_faults() -> None:
    plans = [choose_plan(Chance(seed)) for seed in range(50)]

    assert all({"crash", "crash-at-seam"} <= plan.kinds for plan in plans)
    assert set().union(*(plan.kinds for plan in plans)) == set(RATES)
    assert sum(len(plan.kinds) < len(RATES) for plan in plans) > 25


def test_missing_points_are_named() -> None:
    some = sorted(POINTS)[:3]

    assert set(missing(some)) == POINTS - set(some)


def test_runs_that_were_too_tame_are_told_apart_from_clean_ones() -> None:
    total = {"unreached": ("node drained",), "crashes_per_hour": 14.9, "faulted_share": 0.19}

    assert shortfalls(total, all_points=False, min_crashes_per_hour=0.0, min_faulted=0.0) == ()
    assert len(shortfalls(total, all_points=True, min_crashes_per_hour=15.0, min_faulted=0.2)) == 3
    assert shortfalls(total, all_points=True, min_crashes_per_hour=14.9, min_faulted=0.19) == (
        "never reached: node drained",
    )


def test_a_story_is_made_short_and_what_it_needs_stays_in_it() -> None:
    def run(scenario: Scenario) -> Outcome:
        """Harm comes of a reboot while nodes work; everything else is beside the point."""
        harmed = "reboot" in scenario.faults.kinds and "nodes" in scenario.actors and scenario.hours >= 0.1
        violations = (Violation("S1", 360.0, "node", "twice"),) if harmed else ()
        told = Counter(scenario.faults.kinds)
        return Outcome(scenario.seed, "local", 0, 0, 0, 0, told, 0, Counter(), violations, 0, 0, 0, "")

    scenario = replace(choose_scenario(0, hours=1.0), faults=FaultPlan(tuple((kind, 1.0) for kind in RATES)))

    smaller, found = shrink(scenario, run(scenario), tries=500, run=run)

    assert smaller.faults.kinds == {"reboot"}
    assert smaller.actors <= {"users", "nodes"}
    assert smaller.hours < 0.11
    assert found.violations
