"""One seed from beginning to end, in this process."""

from __future__ import annotations

import gc
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.simulation.chance import Chance
from tests.simulation.checkers import Violation
from tests.simulation.guard import LeftTheSimulation, guarded
from tests.simulation.livelock import Livelock, ending_steps
from tests.simulation.loop import START, SimLoop
from tests.simulation.phases import play
from tests.simulation.scenario import Scenario
from tests.simulation.silence import be_silent, unexpected
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    profile: str
    steps: int
    hours: float
    """Simulated, all phases."""
    provider_calls: int
    faulted_calls: int
    faults: Counter[str]
    crashes: int
    points: Counter[str]
    violations: tuple[Violation, ...]
    settled_s: float
    """From the end of all faults until everything was as desired."""
    drained_s: float
    """From the deletion of every pool until nothing was left."""
    cpu_s: float
    digest: str
    story: tuple[str, ...] = ()


def simulate(
    scenario: Scenario, *, story: bool = False, until_violated: bool = False, is_last: bool = False
) -> Outcome:
    """`until_violated`: the run ends with the first violation, for who asks only whether there is one. `is_last`: so does this
    process, and nothing has to be cleaned up."""
    be_silent()
    unexpected()
    begin = time.process_time()
    with undisturbed(is_last=is_last):
        loop = SimLoop(Chance(scenario.seed).stream("schedule"), scenario.schedule)
        world = World(scenario, loop, story=story)
        main = loop.create_task(play(world))
        if until_violated:
            world.on_violation = loop.stop
        try:
            with guarded(), ending_steps(loop):
                loop.run_until_complete(main)
        except (Exception, LeftTheSimulation, Livelock) as error:
            if not (until_violated and world.violations):
                world.violate("SIM", "the simulator itself", "".join(traceback.format_exception(error)))
        outcome = Outcome(
            seed=scenario.seed,
            profile=scenario.profile,
            steps=loop.steps,
            hours=(world.now - START) / 3600.0,
            provider_calls=world.network.calls,
            faulted_calls=world.network.faulted,
            faults=world.faults.tally,
            crashes=world.deaths,
            points=world.coverage.points,
            violations=tuple(world.violations),
            settled_s=world.settled_s,
            drained_s=world.drained_s,
            cpu_s=time.process_time() - begin,
            digest=world.trace.digest,
            story=tuple(world.trace.lines),
        )
        world.database.close()
        loop.close()
        del world, loop, main
    return outcome


@contextmanager
def undisturbed(*, is_last: bool = False) -> Iterator[None]:
    """No collection while a seed runs. What dead processes leave behind is let go afterwards, and what their `finally` blocks
    then still try is nobody's concern. With `is_last` nothing is: the process ends, and no collection runs any more."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if not is_last:
            _let_go()


def _let_go() -> None:
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
    finally:
        sys.unraisablehook = hook
        gc.unfreeze()
        gc.enable()
