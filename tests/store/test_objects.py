"""Objects, versions and the change log, on memory and on a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from skyward.api import Event, Node, Pool, to_time
from skyward.contracts import Change, Transaction, Verb
from skyward.errors import Conflict, HistoryExpired
from skyward.store import Retention, SqlStore, memory_store, open_store
from tests.store.world import CountingIds, StillClock, event, node, pool

Scenario = Callable[[SqlStore, StillClock], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]
KEEP_LITTLE = Retention(changes=100, events=50)


@pytest.fixture(params=["memory", "file"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a scenario on a fresh store."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            clock = StillClock()
            if request.param == "memory":
                store = memory_store(clock, CountingIds(), retention=KEEP_LITTLE)
            else:
                store = open_store(tmp_path / "state", clock=clock, ids=CountingIds(), retention=KEEP_LITTLE)
            try:
                await scenario(store, clock)
            finally:
                await store.close()

        asyncio.run(main())

    return run


def test_a_new_object_gets_uid_time_and_version(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        put = await store.run(lambda tx: tx.put(pool()))

        assert put.metadata.uid
        assert put.metadata.creation_timestamp == to_time(clock.now())
        assert put.metadata.resource_version == "1"
        assert await store.read(lambda tx: tx.get(Pool, "default/hello")) == put

    run(scenario)


def test_a_write_that_changes_nothing_is_no_change(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        first = await store.run(lambda tx: tx.put(pool()))

        again = await store.run(lambda tx: tx.put(pool()))

        assert again == first
        assert len(await store.changes(0)) == 1

    run(scenario)


def test_expect_refuses_what_changed_meanwhile(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        first = await store.run(lambda tx: tx.put(pool(nodes=1), expect=""))
        await store.run(lambda tx: tx.put(pool(nodes=2), expect=first.metadata.resource_version))

        with pytest.raises(Conflict, match="resource version 2, not 1"):
            await store.run(lambda tx: tx.put(pool(nodes=3), expect=first.metadata.resource_version))
        with pytest.raises(Conflict):
            await store.run(lambda tx: tx.put(pool(nodes=3), expect=""))

        stored = await store.read(lambda tx: tx.get(Pool, "default/hello"))
        assert stored is not None
        assert stored.spec.nodes == 2

    run(scenario)


def test_list_is_sorted_and_can_be_of_one_namespace(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        other = pool("a").replace(metadata=pool("a").metadata.replace(namespace="team"))
        for one in (pool("b"), other, pool("a")):
            await store.run(lambda tx, one=one: tx.put(one))

        assert [p.key for p in await store.read(lambda tx: tx.list(Pool))] == ["default/a", "default/b", "team/a"]
        assert [p.key for p in await store.read(lambda tx: tx.list(Pool, "team"))] == ["team/a"]

    run(scenario)


def test_delete_is_idempotent_and_spares_a_successor_of_the_name(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        old = await store.run(lambda tx: tx.put(node("n")))
        await store.run(lambda tx: tx.delete(old))
        await store.run(lambda tx: tx.delete(old))
        new = await store.run(lambda tx: tx.put(node("n")))

        await store.run(lambda tx: tx.delete(old))

        assert await store.read(lambda tx: tx.get(Node, "default/n")) == new
        verbs = [(change.verb, change.resource_version) for change in await store.changes(0)]
        assert verbs == [(Verb.ADDED, 1), (Verb.DELETED, 2), (Verb.ADDED, 3)]

    run(scenario)


def test_a_deletion_shows_the_last_state_with_a_new_version(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        old = await store.run(lambda tx: tx.put(pool(nodes=5)))
        await store.run(lambda tx: tx.delete(old))

        change = (await store.changes(1))[0]

        assert isinstance(change.object, Pool)
        assert change.object.spec.nodes == 5
        assert change.object.metadata.resource_version == "2"
        assert await store.read(lambda tx: tx.version()) == 2

    run(scenario)


def test_a_failing_work_rolls_back_alone(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        def fail(tx: Transaction) -> None:
            tx.put(pool("never"))
            raise LookupError("on purpose")

        works: list[Callable[[Transaction], object]] = [
            lambda tx: tx.put(pool("a")),
            fail,
            lambda tx: tx.put(pool("b")),
        ]
        answers = await asyncio.gather(*(store.run(work) for work in works), return_exceptions=True)

        assert isinstance(answers[1], LookupError)
        assert [p.metadata.name for p in await store.read(lambda tx: tx.list(Pool))] == ["a", "b"]
        assert [c.object.metadata.name for c in await store.changes(0)] == ["a", "b"]

    run(scenario)


def test_subscribers_see_changes_in_order_before_the_caller_goes_on(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        seen: list[str] = []

        def remember(changes: object) -> None:
            assert isinstance(changes, list | tuple)
            seen.extend(f"{change.verb} {change.object.metadata.name}" for change in changes)

        stop = store.subscribe(remember)

        async def write(name: str) -> None:
            await store.run(lambda tx: tx.put(pool(name)))
            assert f"ADDED {name}" in seen

        await asyncio.gather(*(write(f"p{number}") for number in range(20)))
        stop()
        await write_unseen(store)

        assert seen == [f"ADDED p{number}" for number in range(20)]

    async def write_unseen(store: SqlStore) -> None:
        await store.run(lambda tx: tx.put(pool("unseen")))

    run(scenario)


def test_a_failing_subscriber_disturbs_neither_writers_nor_others(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        seen: list[int] = []

        def fail(changes: object) -> None:
            raise LookupError("on purpose")

        store.subscribe(fail)
        store.subscribe(lambda changes: seen.append(len(changes)))

        await store.run(lambda tx: tx.put(pool()))

        assert seen == [1]

    run(scenario)


def test_reading_work_may_not_write(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        with pytest.raises(RuntimeError, match="only reads"):
            await store.read(lambda tx: tx.put(pool()))

    run(scenario)


def test_history_expires_beyond_what_the_log_keeps(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        def churn(tx: Transaction) -> None:
            for nodes in range(1, 501):
                tx.put(pool(nodes=nodes))

        for _ in range(4):
            await store.run(churn)

        newest = await store.read(lambda tx: tx.version())
        with pytest.raises(HistoryExpired):
            await store.changes(0)
        with pytest.raises(HistoryExpired):
            await store.changes(newest + 1)
        kept = await store.changes(newest - 100)
        assert [change.resource_version for change in kept] == list(range(newest - 99, newest + 1))
        assert len(await store.changes(newest - 50, limit=10)) == 10

    run(scenario)


def test_old_and_surplus_events_go_as_deletions(run: Run) -> None:
    async def scenario(store: SqlStore, clock: StillClock) -> None:
        deleted: list[str] = []

        def remember(changes: object) -> None:
            assert isinstance(changes, list | tuple)
            deleted.extend(c.object.metadata.name for c in changes if isinstance(c, Change) and c.verb is Verb.DELETED)

        store.subscribe(remember)
        await store.run(lambda tx: tx.put(pool()))
        await store.run(lambda tx: tx.put(event("ancient", clock.now())))
        clock.time += 2 * KEEP_LITTLE.event_ttl_s

        def flood(tx: Transaction) -> None:
            for number in range(1000):
                tx.put(event(f"e{number:04}", clock.now()))

        await store.run(flood)

        kept = [one.metadata.name for one in await store.read(lambda tx: tx.list(Event))]
        assert kept == [f"e{number:04}" for number in range(950, 1000)]
        assert deleted[0] == "ancient"
        assert await store.read(lambda tx: tx.get(Pool, "default/hello")) is not None

    run(scenario)
