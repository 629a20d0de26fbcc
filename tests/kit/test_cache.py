from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skyward.api import Node, Pool
from skyward.contracts import Change, Store, Verb
from skyward.facts import AgentSession
from skyward.kit.cache import ObjectCache
from skyward.kit.directory import pool_facts
from skyward.store import memory_store
from tests.builders import NOW, make_node, make_pool, ready_conditions
from tests.fakes.cloud import FakeCloud
from tests.fakes.ids import FakeIds
from tests.fakes.nodes import FakeLink, FakeMachines
from tests.fakes.time import FakeClock, run_virtual

POOL = make_pool("hello", 3)


def with_store(main: object) -> None:
    clock = FakeClock()

    async def run() -> None:
        store = memory_store(clock, FakeIds())
        await main(store, clock)  # type: ignore[operator]
        await store.close()

    run_virtual(run(), clock)


async def put(store: Store, *objects: Pool | Node) -> None:
    await store.run(lambda tx: [tx.put(obj) for obj in objects])


def test_reads_everything_once_and_then_follows() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        await put(store, POOL, make_node(POOL, 1))
        cache = ObjectCache(store)
        await cache.start()
        await put(store, make_node(POOL, 0))

        assert cache.get(Pool, POOL.key) is not None
        assert [node.spec.slot for node in cache.nodes_of(POOL.metadata.uid)] == [0, 1]
        await store.run(lambda tx: tx.delete(make_node(POOL, 1)))
        assert [node.spec.slot for node in cache.nodes_of(POOL.metadata.uid)] == [0]
        assert cache.count_nodes(POOL.metadata.uid) == 1

    with_store(main)


def test_whoever_has_written_sees_it_at_once() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        cache = ObjectCache(store)
        await cache.start()
        for nodes in range(5):
            await put(store, make_pool("hello", nodes))
            found = cache.get(Pool, "default/hello")
            assert found is not None
            assert found.spec.nodes == nodes

    with_store(main)


def test_tells_of_every_change_those_of_the_first_read_included() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        await put(store, POOL)
        cache = ObjectCache(store)
        told: list[tuple[Verb, str]] = []
        cache.on_change(Pool, lambda change, before: told.append((change.verb, change.object.key)))
        await cache.start()
        await put(store, make_pool("hello", 9))
        await store.run(lambda tx: tx.delete(POOL))
        await put(store, POOL)

        assert told == [(verb, POOL.key) for verb in (Verb.ADDED, Verb.MODIFIED, Verb.DELETED, Verb.ADDED)]

    with_store(main)


def test_a_change_that_comes_during_the_first_read_is_not_lost() -> None:
    class Slow:
        """A store whose reads answer late."""

        def __init__(self, store: Store) -> None:
            self._store = store

        async def read(self, work: object) -> object:
            answer = await self._store.read(work)  # type: ignore[arg-type]
            await asyncio.sleep(1)
            return answer

        def subscribe(self, callback: object) -> object:
            return self._store.subscribe(callback)  # type: ignore[arg-type]

    async def main(store: Store, clock: FakeClock) -> None:
        await put(store, POOL, make_node(POOL, 0))
        cache = ObjectCache(Slow(store))  # type: ignore[arg-type]
        starting = asyncio.create_task(cache.start())
        await asyncio.sleep(0.5)
        await put(store, make_pool("hello", 7), make_node(POOL, 1))
        await store.run(lambda tx: tx.delete(make_node(POOL, 0)))
        await starting

        found = cache.get(Pool, POOL.key)
        assert found is not None
        assert found.spec.nodes == 7
        assert [node.spec.slot for node in cache.nodes_of(POOL.metadata.uid)] == [1]

    with_store(main)


def test_an_older_change_never_overwrites_a_newer_one() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        seen: list[Change] = []

        def keep(changes: Sequence[Change]) -> None:
            seen.extend(changes)

        store.subscribe(keep)
        cache = ObjectCache(store)
        await cache.start()
        await put(store, make_pool("hello", 1))
        await put(store, make_pool("hello", 2))
        cache._changed(seen[:1])

        found = cache.get(Pool, "default/hello")
        assert found is not None
        assert found.spec.nodes == 2

    with_store(main)


def test_the_directory_names_the_nodes_that_take_work_by_rank() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        ready = ready_conditions()
        nodes = [
            make_node(POOL, 2, conditions=ready, address="c", launch="l"),
            make_node(POOL, 0, conditions=ready, address="a", launch="l"),
            make_node(POOL, 1, conditions=ready, unschedulable=True, launch="l"),
            make_node(POOL, 3, conditions=ready, deleted_at=NOW, launch="l"),
            make_node(POOL, 4),
            make_node(POOL, 5, conditions=ready, launch="l"),
        ]
        await put(store, POOL, *nodes)
        cache = ObjectCache(store)
        await cache.start()
        link = FakeLink(FakeMachines(FakeCloud(clock), FakeIds()))
        for node in nodes[:5]:
            uid = node.metadata.uid
            link._sessions[uid] = AgentSession(uid, "one", connected=True, since=0, last_heartbeat=0, ready=True)

        facts = pool_facts(cache, link, python="3.11")(POOL.key)

        assert facts is not None
        assert [(rank.node, rank.address) for rank in facts.ready] == [
            (nodes[1].metadata.name, "a"),
            (nodes[0].metadata.name, "c"),
        ]
        assert (facts.nodes, facts.python, facts.deleting) == (3, "3.11", False)
        assert pool_facts(cache, link, python="3.11")("default/none") is None

    with_store(main)


def test_finds_the_nodes_that_name_an_instance_or_a_launch_now() -> None:
    async def main(store: Store, clock: FakeClock) -> None:
        cache = ObjectCache(store)
        await cache.start()
        await put(store, POOL, make_node(POOL, 0, launch="launch"), make_node(POOL, 1, launch="launch"))
        assert [node.spec.slot for node in cache.nodes_naming("launch")] == [0, 1]

        await put(store, make_node(POOL, 0, launch="launch", provider_id="machine"))
        assert [node.spec.slot for node in cache.nodes_naming("machine")] == [0]
        await put(store, make_node(POOL, 0, launch="another"))
        assert cache.nodes_naming("machine") == ()
        assert [node.spec.slot for node in cache.nodes_naming("launch")] == [1]
        await store.run(lambda tx: tx.delete(make_node(POOL, 1, launch="launch")))
        assert cache.nodes_naming("launch") == ()

    with_store(main)
