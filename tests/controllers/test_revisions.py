"""Revisions are rows of the pool that they belong to: recorded once each, numbered on, dropped by number."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from skyward.api import Pool, template_hash
from skyward.contracts import Store
from skyward.controllers.pool.revisions import KEPT, RevisionBook, drop_revisions, record_revision
from skyward.store import memory_store
from tests.builders import NOW, make_pool
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual


def with_store(main: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        store = memory_store(clock, FakeIds())
        await main(store)
        await store.close()

    clock = FakeClock()
    run_virtual(run(), clock)


def version(number: int) -> Pool:
    return make_pool(image={"env": {"VERSION": str(number)}})


async def record(store: Store, pool: Pool) -> None:
    await store.run(lambda tx: record_revision(tx, pool, NOW))


async def numbers(store: Store, pool: Pool) -> list[int]:
    return [one.number for one in await store.read(lambda tx: tx.revisions(pool.metadata.uid))]


def test_a_template_is_recorded_once_and_again_when_it_comes_back() -> None:
    async def main(store: Store) -> None:
        for number in (1, 1, 2, 2, 1):
            await record(store, version(number))

        found = await store.read(lambda tx: tx.revisions("pool-hello"))

        assert [one.number for one in found] == [1, 2, 3]
        assert found[0].template_hash == found[2].template_hash == template_hash(version(1).spec)

    with_store(main)


def test_the_newest_are_kept_and_numbers_go_on() -> None:
    async def main(store: Store) -> None:
        for number in range(KEPT + 3):
            await record(store, version(number))

        assert await numbers(store, version(0)) == list(range(4, KEPT + 4))

    with_store(main)


def test_the_cause_is_where_the_template_was_written() -> None:
    async def main(store: Store) -> None:
        pool = version(1)
        await record(store, pool.replace(status=pool.status.replace(file="a.yaml:3", revision="abc123")))

        [found] = await store.read(lambda tx: tx.revisions("pool-hello"))

        assert found.cause == "a.yaml:3 at abc123"

    with_store(main)


def test_a_book_that_knows_nothing_asks_the_store_and_a_deleted_pool_lacks_nothing() -> None:
    async def main(store: Store) -> None:
        await record(store, version(1))
        book = RevisionBook(store)

        assert not await book.lacks(version(1))
        assert await book.lacks(version(2))
        assert not await book.lacks(make_pool(deleted_at=NOW))
        await store.run(lambda tx: drop_revisions(tx, version(1)))
        assert await numbers(store, version(1)) == []

    with_store(main)
