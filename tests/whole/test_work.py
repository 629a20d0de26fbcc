"""Tasks while nodes come and go: nothing is lost, and nothing is committed twice."""

from __future__ import annotations

import asyncio
import random

import pytest

from skyward.api import Node, NodeCondition, Pool
from skyward.contracts import Transaction
from skyward.facts import InstanceState
from tests.whole.world import World, condition, run_world

SEEDS = range(4)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_map_finishes_while_machines_and_agents_die(seed: int) -> None:
    async def story(world: World) -> None:
        rng = random.Random(seed)
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        task = await world.submit(150)
        for _ in range(3):
            await asyncio.sleep(rng.uniform(5, 15))
            serving = [node for node in await world.nodes() if world.is_serving(node)]
            victim = rng.choice(serving)
            if rng.random() < 0.5:
                world.cloud.lose(victim.status.provider_id, InstanceState.FAILED)
            else:
                world.machines.kill_agent(victim.metadata.uid)
        await world.until(lambda: world.is_done(task))

        assert (await world.task(task)).status.items.succeeded == 150
        await world.settled()

    run_world(story, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_map_finishes_although_the_operator_dies_again_and_again(seed: int) -> None:
    async def story(world: World) -> None:
        rng = random.Random(seed)
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        task = await world.submit(100)
        for _ in range(6):
            await asyncio.sleep(rng.uniform(0.5, 12))
            await world.kill()
            await asyncio.sleep(rng.uniform(0.5, 40))
            await world.start()
            await asyncio.sleep(1)
        await world.until(lambda: world.is_done(task))

        assert (await world.task(task)).status.items.succeeded == 100
        assert world.cloud.calls["create"] == 1
        assert all(count == 1 for count in world.machines.executed.values())

    run_world(story, seed)


def test_a_leaving_node_finishes_what_it_runs() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.machines.work_s = 60
        task = await world.submit(2)
        await asyncio.sleep(5)
        await world.apply(nodes=1)
        await asyncio.sleep(30)
        leaving = next(node for node in await world.nodes() if node.metadata.deletion_timestamp is not None)
        assert condition(leaving, NodeCondition.DRAINED) == "False/Draining"
        assert leaving.spec.unschedulable
        await world.until(lambda: world.is_done(task), 60)
        await world.settled(within_s=60)

        assert set(world.machines.executed.values()) == {1}

    run_world(story)


def test_a_drain_ends_at_its_deadline_and_the_work_goes_elsewhere() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2, drain_timeout="20s")
        await world.settled()
        world.machines.work_s = 300
        task = await world.submit(2)
        await asyncio.sleep(5)
        await world.apply(nodes=1, drain_timeout="20s")
        await world.settled(within_s=60)
        world.machines.work_s = 1
        await world.until(lambda: world.is_done(task), 700)

        assert (await world.task(task)).status.items.succeeded == 2

    run_world(story)


def test_the_work_of_a_node_goes_elsewhere_before_its_machine_is_gone() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2, drain_timeout="10s")
        await world.settled()
        world.machines.work_s = 120
        task = await world.submit(2)
        await asyncio.sleep(5)
        world.machines.work_s = 1
        await world.apply(nodes=1, drain_timeout="10s")
        await asyncio.sleep(20)
        assert world.queue.counts("default/hello") == (1, 1)
        await world.until(lambda: world.is_done(task), 150)

        assert len(world.ours()) == 2

    run_world(story, cloud={"deletion_s": 600.0})


def test_deleting_a_pool_stops_its_work_at_once() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.machines.work_s = 600
        task = await world.submit(10)
        await asyncio.sleep(5)
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone, within_s=30)

        assert (await world.task(task)).status.phase == "Cancelled"

    run_world(story)


def test_the_pool_shows_the_numbers_of_its_queue() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.machines.work_s = 10
        task = await world.submit(6)
        await asyncio.sleep(5)
        status = (await world.pool()).status
        assert (status.queued, status.running, status.busy) == (4, 2, 2)
        await world.until(lambda: world.is_done(task))
        await asyncio.sleep(3)
        status = (await world.pool()).status
        assert (status.queued, status.running, status.busy) == (0, 0, 0)

    run_world(story)


def test_the_pool_shows_that_work_runs_which_had_waited_for_its_nodes() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        await cordon_all(world, True)
        world.machines.work_s = 1000
        await world.submit(5)
        await asyncio.sleep(40)
        assert (await world.pool()).status.queued == 5
        await cordon_all(world, False)
        await asyncio.sleep(4)

        status = (await world.pool()).status
        assert (status.queued, status.running, status.busy) == (3, 2, 2)

    run_world(story)


async def cordon_all(world: World, unschedulable: bool) -> None:
    nodes = await world.nodes()

    def work(tx: Transaction) -> None:
        for node in nodes:
            tx.put(node.replace(spec=node.spec.replace(unschedulable=unschedulable)))

    await world.write(work)


def test_a_silent_agent_loses_its_attempts_when_its_lease_is_over_and_not_before() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        node = (await world.nodes())[0]
        world.machines.work_s = 1000
        await world.submit(1)
        await asyncio.sleep(5)
        world.machines.bootstrap_s = 100  # it does not come back soon
        world.machines.kill_agent(node.metadata.uid)
        await asyncio.sleep(25)
        assert world.queue.held(node.metadata.uid) == 1
        await asyncio.sleep(10)
        assert world.queue.held(node.metadata.uid) == 0
        assert world.queue.counts("default/hello") == (1, 0)

    run_world(story)


def test_a_broadcast_ends_when_a_rank_is_lost() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        world.machines.work_s = 20
        task = await world.submit(1, mode="broadcast")
        await asyncio.sleep(5)
        victim: Node = (await world.nodes())[1]
        world.cloud.vanish(victim.status.provider_id)
        await world.until(lambda: world.is_done(task), 120)

        items = (await world.task(task)).status.items
        assert (items.succeeded, items.failed) == (2, 1)

    run_world(story)


def test_tasks_of_a_pool_that_vanished_with_an_operator_are_dropped_by_the_next() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        world.machines.work_s = 600
        task = await world.submit(5)
        await asyncio.sleep(5)
        await world.kill()
        await forget_everything(world)

        await world.start()
        await asyncio.sleep(1)

        assert (await world.task(task)).status.phase == "Cancelled"

    run_world(story)


def test_a_broadcast_does_not_wait_for_a_node_that_vanished_with_an_operator() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.machines.work_s = 30
        await world.submit(2)
        task = await world.submit(1, mode="broadcast")
        await asyncio.sleep(5)
        assert (await world.task(task)).status.items.queued == 2
        await world.kill()
        victim = (await world.nodes())[0]
        await world.write(lambda tx: tx.delete(victim))

        await world.start()
        await world.until(lambda: world.is_done(task), 120)

        items = (await world.task(task)).status.items
        assert (items.succeeded, items.failed) == (1, 1)

    run_world(story)


async def forget_everything(world: World) -> None:
    """The rows of all pools and nodes are gone: what the store was told last before the operator died."""
    gone = [*await world.pools(), *await world.nodes()]

    def work(tx: Transaction) -> None:
        for one in gone:
            tx.delete(one)

    await world.write(work)
