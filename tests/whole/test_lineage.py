"""Records that are not the newest: lost, restored from a backup, copied. Nothing is made or deleted until somebody has looked."""

from __future__ import annotations

import asyncio
import sqlite3

from skyward.api import Node, PoolCondition, Source, SourceCondition, SourceSpec, find
from skyward.api.meta import ADOPTED, ObjectMeta
from skyward.contracts import Transaction
from skyward.store import SqlStore, memory_store
from tests.fakes.ids import FakeIds
from tests.whole.world import World, condition, run_world


def test_records_that_were_lost_make_the_operator_look_only() -> None:
    async def story(world: World) -> None:
        await _work(world)
        await _replace_store(world, _emptied(world))
        await world.apply(nodes=2)
        await asyncio.sleep(600)

        assert len(world.ours()) == 3
        assert world.cloud.calls["create"] == 1
        assert world.cloud.calls["delete"] == 0
        assert condition(await world.pool(), PoolCondition.STALLED) == "True/LineageUnknown"
        assert any(event.reason == "LineageUnknown" for event in await world.events())

    run_world(story)


def test_what_is_adopted_becomes_nodes_again_and_the_rest_is_deleted() -> None:
    async def story(world: World) -> None:
        await _work(world)
        await world.apply("other", nodes=1)
        await world.settled("other")
        machines = {key for key, one in world.cloud.alive.items() if one.pool == "default/hello"}
        await _replace_store(world, _emptied(world))
        await world.apply(nodes=3)
        await _adopt(world)
        await world.until(lambda: _is_ready(world, 3))

        assert {node.status.provider_id for node in await world.nodes()} == machines == set(world.ours())
        assert world.cloud.calls["create"] == 2
        assert condition(await world.pool(), PoolCondition.STALLED) == "absent"
        assert await _source(world) is None
        assert world.leadership.epoch > 1

    run_world(story)


def test_what_is_too_many_after_an_adoption_leaves_by_the_pools_plan() -> None:
    async def story(world: World) -> None:
        await _work(world)
        await _replace_store(world, _emptied(world))
        await world.apply(nodes=1)
        await _adopt(world)
        await world.until(lambda: _is_ready(world, 1))

        assert world.cloud.calls["create"] == 1

    run_world(story)


def test_another_hash_adopts_nothing() -> None:
    async def story(world: World) -> None:
        await _work(world)
        await _replace_store(world, _emptied(world))
        await world.apply(nodes=3)
        await _annotate(world, "0123456789ab")
        await asyncio.sleep(300)

        assert not await world.nodes()
        assert len(world.ours()) == 3

    run_world(story)


def test_a_restored_backup_deletes_nothing_that_came_after_it() -> None:
    async def story(world: World) -> None:
        await _work(world)
        backup = _copied(world)
        await world.apply(nodes=5)
        await world.settled()
        await _replace_store(world, backup)
        await asyncio.sleep(600)
        assert len(world.ours()) == 5
        assert world.cloud.calls["delete"] == 0
        await world.apply(nodes=5)
        await _adopt(world)
        await world.settled()

        assert len(world.ours()) == 5
        assert world.cloud.calls["create"] == 2
        assert sorted(node.spec.slot for node in await world.nodes()) == [0, 1, 2, 3, 4]

    run_world(story)


def test_restarts_do_not_wear_a_doubt_out() -> None:
    async def story(world: World) -> None:
        await _work(world)
        backup = _copied(world)
        await world.apply(nodes=5)
        await world.settled()
        await _replace_store(world, backup)
        for seconds in (0.01, 120, 0.01, 300):
            await asyncio.sleep(seconds)
            await world.restart()
        await asyncio.sleep(600)

        assert len(world.ours()) == 5
        assert world.cloud.calls["delete"] == 0
        assert condition(await world.pool(), PoolCondition.STALLED) == "True/LineageUnknown"

    run_world(story)


def test_a_listing_that_leaves_machines_out_for_a_while_wears_no_doubt_out() -> None:
    async def story(world: World) -> None:
        await _work(world)
        backup = _copied(world)
        known = set(world.ours())
        await world.apply(nodes=5)
        await world.settled(within_s=900)
        world.cloud.faults.hides = lambda instance_id: instance_id not in known
        await _replace_store(world, backup)
        await asyncio.sleep(60)
        await world.restart()
        world.cloud.faults.hides = lambda _: False
        await asyncio.sleep(600)

        assert len(world.ours()) == 5
        assert world.cloud.calls["delete"] == 0

    run_world(story, driver={"visibility_s": 60})


def test_two_operators_with_copied_records_freeze_as_soon_as_they_meet() -> None:
    async def story(world: World) -> None:
        await _work(world)
        fork = World(9, world.clock, driver={}, cloud={}, with_intake=False, store=_copied(world))
        fork.cloud, fork.machines = world.cloud, world.machines
        world.cloud.before_create = lambda request: None
        await fork.start()
        await fork.apply(nodes=4)
        await asyncio.sleep(60)
        assert condition(await world.pool(), PoolCondition.STALLED) == "True/LineageUnknown"
        deleted = world.cloud.calls["delete"]
        await world.apply(nodes=0)
        await asyncio.sleep(300)

        assert world.cloud.calls["delete"] == deleted == 0
        assert len(world.ours()) == 4
        await fork.kill()

    run_world(story)


def test_an_intact_store_doubts_nothing_whenever_its_operator_is_restarted() -> None:
    async def story(world: World) -> None:
        await _work(world)
        for nodes in (4, 5, 6):
            await world.restart()
            await world.apply(nodes=nodes)
            await world.settled()

        assert await _source(world) is None
        assert {machine.epoch for machine in world.cloud.alive.values()} == {1, 2, 3, 4}

    run_world(story)


def test_nothing_is_launched_before_the_first_complete_listing() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.cloud.faults.capacity = 0
        await world.apply(nodes=2)
        await world.until(lambda: _has_nodes(world))
        await asyncio.sleep(10)
        await world.kill()
        world.cloud.faults.capacity, world.cloud.faults.listing_is_down = None, True
        calls = world.cloud.calls["create"]
        await world.start()
        await asyncio.sleep(300)
        assert world.cloud.calls["create"] == calls
        world.cloud.faults.listing_is_down = False
        await world.settled(within_s=900)

    run_world(story)


async def _work(world: World) -> None:
    await world.write(declare_source)
    await world.start()
    await world.apply(nodes=3)
    await world.settled()


def _emptied(world: World) -> SqlStore:
    """A store made anew for the same installation, as the state directory remembers it."""
    from skyward.store import schema
    from skyward.store.database import open_memory
    from skyward.store.objects import Retention

    database = open_memory()
    schema.prepare(database, "a new store")
    return SqlStore(
        database, clock=world.clock, ids=FakeIds(7), retention=Retention(), installation=world.store.installation
    )


def _copied(world: World) -> SqlStore:
    copy = memory_store(world.clock, FakeIds(8))
    source: sqlite3.Connection = world.store._database.raw
    source.backup(copy._database.raw)
    return memory_store(world.clock, FakeIds(8), beside=copy)


async def _replace_store(world: World, store: SqlStore) -> None:
    await world.kill()
    world.store = store
    await world.write(declare_source)
    await world.start()


def declare_source(tx: Transaction) -> None:
    if tx.get(Source, "default/manifests") is None:
        tx.put(Source(metadata=ObjectMeta(name="manifests"), spec=SourceSpec(path="/manifests")))


async def source_of(world: World) -> Source:
    source = await world.store.read(lambda tx: tx.get(Source, "default/manifests"))
    assert source is not None
    return source


async def _source(world: World) -> str | None:
    """What its condition says of the records."""
    source = await source_of(world)
    found = find(source.status.conditions, SourceCondition.RECORDS_CURRENT)
    return found.message if found is not None else None


async def _adopt(world: World) -> None:
    await world.until(lambda: _is_asked(world))
    source = await source_of(world)
    (hash_,) = source.status.adoptable
    assert f"skyctl adopt {hash_}" in (await _source(world) or "")
    await _annotate(world, hash_)
    await world.until(lambda: _has_nodes(world))


async def _annotate(world: World, hash_: str) -> None:
    def work(tx: Transaction) -> None:
        source = tx.get(Source, "default/manifests")
        assert source is not None
        tx.put(source.replace(metadata=source.metadata.replace(annotations={ADOPTED: hash_})))

    await world.write(work)


async def _is_asked(world: World) -> bool:
    return await _source(world) is not None


async def _is_ready(world: World, nodes: int) -> bool:
    """As desired; the machines still carry the pool's uid in the records that were lost."""
    return len(world.ours()) == nodes and await world.pool_is("hello", PoolCondition.READY, "True/AsDesired")


async def _has_nodes(world: World) -> bool:
    return bool(await world.store.read(lambda tx: tx.list(Node)))
