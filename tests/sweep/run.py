"""One telling of a story, with or without deaths, and what it came to."""

from __future__ import annotations

import asyncio
import time
import traceback
from dataclasses import dataclass

from tests.simulation.chance import Chance
from tests.simulation.checkers import Violation
from tests.simulation.guard import LeftTheSimulation, guarded
from tests.simulation.loop import SimLoop
from tests.simulation.process import CrashPoint, When
from tests.simulation.run import undisturbed
from tests.simulation.silence import be_silent, unexpected
from tests.sweep.stage import Stage
from tests.sweep.story import Story

_CALM_S = 2.0
_LIMIT_S = 1800.0
"""By then the world must have come to where it comes without a death."""


@dataclass(frozen=True, slots=True)
class Call:
    """One touch of the world by one process: the n-th of that process, from 1."""

    process: int
    number: int
    name: str
    moments: tuple[When, ...]
    """In which the process could have died: a call that is refused has no effect."""
    place: int
    """Among all calls of the telling, from 1."""


@dataclass(frozen=True, slots=True)
class Point:
    """A death at one call."""

    call: Call
    when: When

    @property
    def key(self) -> str:
        return f"{self.call.place}:{self.when}"

    def __str__(self) -> str:
        return f"{self.when} call {self.call.number} of operator {self.call.process}, {self.call.name}"


@dataclass(frozen=True, slots=True)
class Telling:
    story: str
    calls: tuple[Call, ...]
    """Until the world was as it stayed."""
    fixpoint: tuple[str, ...]
    violations: tuple[Violation, ...]
    deaths: int
    cpu_s: float
    virtual_s: float
    lines: tuple[str, ...] = ()


def tell(
    story: Story, points: tuple[Point, ...] = (), expected: tuple[str, ...] | None = None, *, keep: bool = False
) -> Telling:
    """Once, from the beginning. Without `expected` the world is given time to come to rest, and that is its fixpoint; with it,
    until it is there."""
    be_silent()
    unexpected()
    begin = time.process_time()
    with undisturbed():
        loop = SimLoop(Chance(story.scenario.seed).stream("schedule"), story.scenario.schedule)
        deaths = {point.call.process: CrashPoint(point.call.number, point.when) for point in points}
        stage = Stage(story.scenario, loop, deaths, story=keep)
        performance = _Performance(stage, story, expected)
        main = loop.create_task(performance.perform())
        try:
            with guarded():
                loop.run_until_complete(main)
        except (Exception, LeftTheSimulation) as error:
            stage.violate("SIM", "the sweep itself", "".join(traceback.format_exception(error)))
        _check_deaths(stage, points)
        telling = Telling(
            story.name,
            performance.calls,
            performance.fixpoint,
            tuple(stage.violations),
            stage.deaths,
            time.process_time() - begin,
            loop.time(),
            tuple(stage.trace.lines),
        )
        stage.database.close()
        loop.close()
        del stage, loop, main, performance
    return telling


class _Performance:
    def __init__(self, stage: Stage, story: Story, expected: tuple[str, ...] | None) -> None:
        self.calls: tuple[Call, ...] = ()
        self.fixpoint: tuple[str, ...] = ()
        self._stage = stage
        self._story = story
        self._expected = expected

    async def perform(self) -> None:
        stage = self._stage
        stage.revive()
        await self._story.tell(stage)
        stage.tell("story", "is told")
        if self._expected is None:
            await self._rest()
        else:
            await self._arrive(self._expected)
        for checker in stage.checkers:
            checker.settled()

    async def _rest(self) -> None:
        """What it stays at, and the calls until it was there."""
        stage = self._stage
        since, limit = stage.now, stage.now + _LIMIT_S
        while stage.now - since < 2 * self._story.still_s:
            here = stage.fixpoint()
            if here != self.fixpoint:
                self.fixpoint, self.calls, since = here, _calls(stage), stage.now
            if stage.now > limit:
                stage.violate("L11", self._story.name, "it never comes to rest")
                return
            await asyncio.sleep(_CALM_S)

    async def _arrive(self, expected: tuple[str, ...]) -> None:
        stage = self._stage
        deadline = stage.now + _LIMIT_S
        while stage.now < deadline:
            if stage.fixpoint() == expected:
                await asyncio.sleep(self._story.still_s)
                if stage.fixpoint() == expected:
                    break
            await asyncio.sleep(_CALM_S)
        else:
            stage.violate(
                "S26", self._story.name, "it comes to something else\n" + _difference(expected, stage.fixpoint())
            )
        self.fixpoint, self.calls = stage.fixpoint(), _calls(stage)


def _calls(stage: Stage) -> tuple[Call, ...]:
    made = [(one, number, name) for one in stage.processes for number, name in enumerate(one.names, start=1)]
    return tuple(
        Call(one.number, number, name, tuple((one.moments or {}).get(number, ())), place)
        for place, (one, number, name) in enumerate(made, start=1)
    )


def _check_deaths(stage: Stage, points: tuple[Point, ...]) -> None:
    """Each came, at the moment it was meant for."""
    for point in points:
        causes = {one.number: one.cause for one in stage.processes}
        if not causes.get(point.call.process, "").startswith(f"{point.when} {point.call.name} "):
            stage.violate("SIM", "the sweep itself", f"{point}: nobody died there, the telling went another way")


def _difference(expected: tuple[str, ...], found: tuple[str, ...]) -> str:
    lines = [f"- {line}" for line in expected if line not in found]
    return "\n".join(lines + [f"+ {line}" for line in found if line not in expected])
