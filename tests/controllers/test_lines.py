"""Create calls under way: a limit for each provider, half of it for one pool, and nobody waits for ever."""

from __future__ import annotations

import asyncio

from skyward.controllers.node.lines import CreateLines
from tests.whole.world import World, run_world


def test_a_provider_has_so_many_and_one_pool_half_of_them() -> None:
    lines = CreateLines(4)

    assert [lines.enter("local", "greedy", f"n-{number}") for number in range(3)] == [True, True, False]
    assert [lines.enter("local", "other", f"o-{number}") for number in range(2)] == [True, True]
    assert not lines.enter("local", "third", "t-0")
    assert lines.enter("elsewhere", "third", "t-0")


def test_whoever_found_no_place_is_told_when_one_is_free() -> None:
    lines = CreateLines(2)
    lines.enter("local", "pool", "n-0")
    for key in ("n-1", "n-2", "n-1"):
        lines.enter("local", "pool", key)

    assert lines.leave("local", "pool") == ("n-1", "n-2")
    assert lines.enter("local", "pool", "n-2")


def test_no_more_create_calls_are_under_way_than_may_be() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.hangs = lambda pool_uid: True
        await world.start()
        await world.apply("one", nodes=30)
        await world.apply("two", nodes=30)
        await world.apply("three", nodes=30)
        await asyncio.sleep(60)
        assert world.cloud.calls["create"] == 16

        world.cloud.faults.hangs = lambda pool_uid: False
        for name in ("one", "two", "three"):
            await world.settled(name, within_s=900)

    run_world(story, driver={"max_count": 1})
