"""A pool that is deleted and declared again: another uid, with machines of its own; the old ones' end neither feeds nor
blocks it."""

from __future__ import annotations

import asyncio

import pytest

from tests.whole.test_from_manifests import has_pools, manifest
from tests.whole.world import World, run_world


@pytest.mark.parametrize("after_s", [0.0, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("seed", range(2))
def test_a_pool_declared_again_while_the_old_one_goes_is_another_one(seed: int, after_s: float) -> None:
    async def story(world: World) -> None:
        await world.start()
        world.save("hello.yaml", manifest(2))
        await world.until(lambda: has_pools(world, 1))
        await world.settled()
        old = await world.pool()
        world.files.take_away("/manifests/hello.yaml")
        await world.until(lambda: _leaves(world))
        await asyncio.sleep(after_s)
        world.save("hello.yaml", manifest(3))
        await asyncio.sleep(1)
        for node in await world.nodes():
            is_old = node.spec.pool_uid == old.metadata.uid
            assert not is_old or node.metadata.deletion_timestamp is not None
        await world.until(lambda: _is_another(world, old.metadata.uid))
        await world.settled()

        new = await world.pool()
        assert (new.metadata.generation, new.spec.nodes) == (1, 3)
        assert world.cloud.of_pool(old.metadata.uid) == []
        assert world.cloud.peak[old.metadata.uid] == 2
        assert all(node.spec.pool_uid == new.metadata.uid for node in await world.nodes())

    run_world(story, seed, with_intake=True)


@pytest.mark.parametrize("after_s", [0.5, 5.0])
def test_a_pool_that_was_missing_for_a_moment_keeps_its_machines(after_s: float) -> None:
    async def story(world: World) -> None:
        await world.start()
        world.save("hello.yaml", manifest(2))
        await world.until(lambda: has_pools(world, 1))
        await world.settled()
        before = set(world.ours())
        world.files.take_away("/manifests/hello.yaml")
        await asyncio.sleep(after_s)
        world.save("hello.yaml", manifest(2))
        await asyncio.sleep(60)

        assert set(world.ours()) == before

    run_world(story, with_intake=True)


async def _leaves(world: World) -> bool:
    return all(pool.metadata.deletion_timestamp is not None for pool in await world.pools())


async def _is_another(world: World, uid: str) -> bool:
    return [pool.metadata.uid != uid for pool in await world.pools()] == [True]
