"""A wall clock that jumps: nothing is deleted, nothing given up, no lease stolen, and it is told."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import SourceCondition, find
from skyward.controllers.garbage.tombstones import KEPT_S
from skyward.kit.steady import LONGEST_STEP_S
from tests.whole.test_lineage import declare_source, source_of
from tests.whole.world import World, run_world

DAY_S = 86_400.0
JUMPS = {
    "an hour ahead": 3_600.0,
    "an hour back": -3_600.0,
    "a day ahead": DAY_S,
    "a day back": -DAY_S,
    "to 1970": -1_800_000_000.0,
    "to 2100": 2_300_000_000.0,
}


@pytest.mark.parametrize("jump_s", JUMPS.values(), ids=JUMPS.keys())
def test_a_jump_changes_nothing_but_what_is_said(jump_s: float) -> None:
    async def story(world: World) -> None:
        await world.write(declare_source)
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        task = await world.submit(4)
        await world.until(lambda: world.is_done(task))
        before = {node.metadata.uid for node in await world.nodes()}
        world.wall.off_s += jump_s
        await asyncio.sleep(30)
        assert await _is_told(world)
        await asyncio.sleep(900)

        assert {node.metadata.uid for node in await world.nodes()} == before
        assert await world.is_settled()
        assert world.cloud.calls["delete"] == 0
        assert (await world.task(task)).metadata.uid == task
        assert world.leadership.epoch == 1
        assert await _is_told(world) is not (0 < jump_s <= LONGEST_STEP_S)
        assert any(event.reason == "ClockJumped" for event in await world.events())

    run_world(story)


def test_a_jump_while_a_launch_is_unanswered_makes_no_second_one() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.cloud.faults.lost_replies = 1
        await world.apply(nodes=1)
        await asyncio.sleep(3)
        world.wall.off_s += 3_600
        await asyncio.sleep(75)
        await world.settled()

        assert world.most_machines() == 1
        assert len(world.cloud.created) == 1

    run_world(story, driver={"has_token": False, "visibility_s": 100.0}, cloud={"visibility_s": 95.0})


def test_a_jump_drops_no_tombstone() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        await world.apply(nodes=0)
        await world.settled()
        await asyncio.sleep(60)
        for _ in range(4):
            world.wall.off_s += KEPT_S / 3
            await asyncio.sleep(120)

        assert [bool(launch.gone_at) for launch in await world.launches()] == [True]

    run_world(story)


def test_a_clock_at_ten_times_its_rate_is_never_followed() -> None:
    async def story(world: World) -> None:
        await world.write(declare_source)
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        for _ in range(120):
            await asyncio.sleep(5)
            world.wall.off_s += 45

        assert await world.is_settled()
        assert await _is_told(world)
        assert world.cloud.calls["delete"] == 0

    run_world(story)


def test_a_jump_that_was_told_is_over_for_the_next_operator_too() -> None:
    async def story(world: World) -> None:
        await world.write(declare_source)
        await world.start()
        await asyncio.sleep(1)
        world.wall.off_s += 7200.0
        await asyncio.sleep(15)
        assert await _is_told(world)
        await world.restart()
        await asyncio.sleep(15)

        assert not await _is_told(world)

    run_world(story)


async def _is_told(world: World) -> bool:
    return find((await source_of(world)).status.conditions, SourceCondition.CLOCK_STEADY) is not None
