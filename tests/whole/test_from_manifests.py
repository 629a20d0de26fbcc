"""From a saved file to machines and back: intake, store, planner and controllers together."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import PoolCondition
from tests.whole.world import World, condition, run_world


def manifest(nodes: int, name: str = "hello", more: str = "") -> str:
    return (
        "apiVersion: skyward.dev/v1alpha1\nkind: Pool\n"
        f"metadata: {{name: {name}}}\nspec:\n  nodes: {nodes}\n  provider: local\n{more}"
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_saved_file_becomes_machines_and_a_removed_one_takes_them_away(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        world.save("hello.yaml", manifest(2))
        await world.until(lambda: has_pools(world, 1))
        await world.settled()
        world.save("hello.yaml", manifest(3))
        await asyncio.sleep(5)
        await world.settled()
        assert len(world.ours()) == 3
        world.files.take_away("/manifests/hello.yaml")
        await world.until(lambda: has_pools(world, 0))
        await world.until(world.is_gone)

    run_world(story, seed, with_intake=True)


def test_the_first_create_call_follows_a_saved_file_at_once() -> None:
    async def story(world: World) -> None:
        await world.start()
        await asyncio.sleep(30)
        saved_at = world.clock.monotonic()
        world.save("hello.yaml", manifest(2))
        await world.until(lambda: has_called_create(world), every_s=0.001)

        assert world.clock.monotonic() - saved_at < 0.1  # virtual time: nothing on the way waits for a timer

    run_world(story, with_intake=True)


def test_a_broken_file_keeps_its_machines_and_disturbs_no_other() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.save("hello.yaml", manifest(2))
        world.save("other.yaml", manifest(1, "other"))
        await world.until(lambda: has_pools(world, 2))
        await world.settled()
        world.save("hello.yaml", manifest(-2))
        world.save("other.yaml", manifest(2, "other"))
        await asyncio.sleep(60)
        await world.settled("other")

        pool = await world.pool()
        assert condition(pool, PoolCondition.ACCEPTED) == "False/ManifestInvalid"
        assert pool.spec.nodes == 2
        assert len(world.cloud.of_pool(pool.metadata.uid)) == 2

    run_world(story, with_intake=True)


def test_a_restart_with_the_same_files_changes_nothing() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.save("hello.yaml", manifest(2))
        await world.until(lambda: has_pools(world, 1))
        await world.settled()
        before = {node.metadata.uid for node in await world.nodes()}
        await world.restart()
        await asyncio.sleep(60)
        await world.settled()

        assert {node.metadata.uid for node in await world.nodes()} == before
        assert (await world.pool()).metadata.generation == 1
        assert world.cloud.calls["create"] == 1

    run_world(story, with_intake=True)


async def has_pools(world: World, count: int) -> bool:
    return len(await world.pools()) == count


async def has_called_create(world: World) -> bool:
    return world.cloud.calls["create"] > 0
