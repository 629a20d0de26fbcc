"""Two operators on one store: one works, the other waits, and who was paused past its lease does no more harm."""

from __future__ import annotations

import asyncio

import pytest

from skyward.errors import LeadershipLost
from tests.whole.world import World, run_world


@pytest.mark.parametrize("seed", range(3))
def test_a_standby_goes_on_where_a_dead_leader_stopped(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        standby = await world.start_standby()
        await asyncio.sleep(30)
        assert world.leadership.epoch == 1
        await world.kill()
        died_at = world.clock.now()
        await world.until(lambda: _is_led_anew(world))
        assert world.clock.now() - died_at <= 20
        world.operator = standby
        await world.apply(nodes=4)
        await world.settled()

        assert world.leadership.epoch == 2
        assert {machine.epoch for machine in world.cloud.alive.values()} == {1, 2}
        assert world.most_machines() == 4

    run_world(story, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_that_was_paused_in_the_middle_of_its_work_ends_without_a_trace(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        stale, seams = world.operator, world.seams
        standby = await world.start_standby()
        await asyncio.sleep(10)
        await world.apply(nodes=5)
        await asyncio.sleep(0.1 + seed / 10)
        seams.pause()
        await world.until(lambda: _is_led_anew(world))
        world.operator = standby
        await world.settled()
        calls = sum(request.epoch == 1 for request in world.cloud.created)
        seams.go_on()
        assert stale is not None
        with pytest.raises(LeadershipLost):
            await stale
        await asyncio.sleep(120)

        assert sum(request.epoch == 1 for request in world.cloud.created) <= calls + 1
        assert await world.is_settled()
        assert len(world.ours()) == 5

    run_world(story, seed)


async def _is_led_anew(world: World) -> bool:
    return world.leadership.epoch == 2
