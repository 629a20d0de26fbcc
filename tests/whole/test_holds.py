"""A mass deletion from the files to the machines: held, said everywhere in the same words, approved, done."""

from __future__ import annotations

import asyncio

from skyward.api import PoolCondition, Source, find
from skyward.api.meta import APPROVED
from skyward.contracts import Transaction
from tests.whole.test_from_manifests import has_pools, manifest
from tests.whole.world import World, condition, run_world

NAMES = ("a", "b", "c")


def test_machines_of_held_pools_stay_through_restarts_until_somebody_approves() -> None:
    async def story(world: World) -> None:
        await _three_pools(world)
        for name in NAMES:
            world.files.take_away(f"/manifests/{name}.yaml")
        await asyncio.sleep(120)
        await world.restart()
        await asyncio.sleep(120)

        assert len(world.ours()) == 3
        pool = await world.pool("a")
        held = pool.status.held
        assert held is not None
        assert condition(pool, PoolCondition.STALLED) == "True/DeletionHeld"
        assert condition(pool, PoolCondition.READY) == "False/DeletionHeld"
        stalled = find(pool.status.conditions, PoolCondition.STALLED)
        assert stalled is not None
        assert stalled.message == str(held)
        notes = {event.note for event in await world.events() if event.regarding.name == "a"}
        assert str(held) in notes
        records = await world.store.read(lambda tx: tx.decisions(pool.metadata.uid))
        assert [(r.decision.message, r.until) for r in records if r.decision.rule == "mass-deletion"] == [
            (str(held), None)
        ]

        await world.write(lambda tx: _approve(tx, held.hash))
        await world.until(lambda: has_pools(world, 0))
        await world.until(world.is_gone)

    run_world(story, with_intake=True)


def test_restored_files_leave_everything_as_it_was() -> None:
    async def story(world: World) -> None:
        await _three_pools(world)
        before = {node.metadata.uid for node in await world.nodes()}
        for name in NAMES:
            world.save(f"{name}.yaml", manifest(0, name))
        await asyncio.sleep(120)
        for name in NAMES:
            world.save(f"{name}.yaml", manifest(1, name))
        for name in NAMES:
            await world.settled(name)

        assert {node.metadata.uid for node in await world.nodes()} == before
        assert all(find(pool.status.conditions, PoolCondition.STALLED) is None for pool in await world.pools())

    run_world(story, with_intake=True)


async def _three_pools(world: World) -> None:
    await world.start()
    for name in NAMES:
        world.save(f"{name}.yaml", manifest(1, name))
    await world.until(lambda: has_pools(world, len(NAMES)))
    for name in NAMES:
        await world.settled(name)


def _approve(tx: Transaction, hash_: str) -> None:
    source = tx.get(Source, "default/manifests")
    assert source is not None
    tx.put(source.replace(metadata=source.metadata.replace(annotations={APPROVED: hash_})))
