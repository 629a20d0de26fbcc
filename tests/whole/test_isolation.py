"""What one pool or provider does to the others: nothing that they would notice; and what an idle operator costs."""

from __future__ import annotations

import asyncio

from skyward.api import Node, Pool
from tests.whole.world import World, run_world


def test_hanging_provider_calls_of_one_pool_do_not_delay_another() -> None:
    """More calls hang than there are workers, creates first and then deletes."""

    async def story(world: World) -> None:
        await world.start()
        await world.apply("stuck", nodes=40)
        await world.settled("stuck")
        stuck = (await world.pool("stuck")).metadata.uid
        world.cloud.faults.hangs = lambda pool_uid: pool_uid == stuck
        await world.delete(Pool, "default/stuck")
        await asyncio.sleep(1)

        await world.apply("free", nodes=3)
        await world.settled("free", within_s=40)
        await world.apply("free", nodes=1)
        await world.settled("free", within_s=20)

        world.cloud.faults.hangs = lambda pool_uid: False
        await world.until(lambda: world.lacks_pool("stuck"), within_s=300)

    run_world(story)


def test_creates_that_hang_do_not_delay_another_pool() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply("free", nodes=1)
        await world.settled("free")
        free = (await world.pool("free")).metadata.uid
        world.cloud.faults.hangs = lambda pool_uid: pool_uid != free
        await world.apply("stuck", nodes=40)
        await asyncio.sleep(1)

        await world.apply("free", nodes=4)
        await world.settled("free", within_s=40)

    run_world(story, driver={"max_count": 1})


def test_heartbeats_reach_the_store_in_one_batch_a_minute_and_wake_nobody() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=5)
        await world.settled()
        await asyncio.sleep(120)
        passes = {one.name: one.passes for one in world.controllers}
        commits = world.commits
        started = world.clock.now()
        for _ in range(600):
            world.link.beat()
            await asyncio.sleep(1)

        minutes = (world.clock.now() - started) / 60
        assert world.commits - commits <= 2 * minutes + 2, "one batch, and the collection of old tasks"
        stored = [node.status.last_heartbeat for node in await world.nodes()]
        assert all(at is not None and world.clock.now() - at.timestamp() <= 62 for at in stored)
        spent = {one.name: one.passes - passes[one.name] for one in world.controllers}
        resyncs = 600 / 27 + 1
        assert spent["pool"] <= resyncs
        assert spent["node"] <= 5 * resyncs

    run_world(story)


def test_a_node_that_only_beat_is_not_taken_for_changed() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        node = (await world.nodes())[0]
        world.link.beat()
        await asyncio.sleep(130)

        [after] = await world.nodes()
        assert after.status.last_heartbeat != node.status.last_heartbeat
        assert after.status.conditions == node.status.conditions
        assert isinstance(after, Node)

    run_world(story)
