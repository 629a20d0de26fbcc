"""Task rows where the queue's own tests do not look: retention, and batches that match only in part."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from skyward.contracts import EndRow, LeaseRow, TaskRow, Transaction
from skyward.store import memory_store
from skyward.store.batches import chunks
from tests.store.world import CountingIds, StillClock


def task(number: int, items: int = 1) -> TaskRow:
    return TaskRow(
        uid=f"u{number}",
        namespace="default",
        name=f"t{number}",
        submitter="alice",
        key=f"k{number}",
        fingerprint="f",
        pool="default/hello",
        mode="map",
        function="d",
        function_name="main.f",
        max_attempts=3,
        timeout_s=None,
        priority=0,
        env={"A": "1"},
        stream=True,
        ranks=(),
        items=items,
        open=False,
        created_at=1.0,
    )


def test_a_task_row_comes_back_as_it_was_stored() -> None:
    async def main() -> None:
        store = memory_store(StillClock(), CountingIds())
        (stored,) = await store.run(lambda tx: tx.tasks.add([(task(1), [b"1"])]))

        assert stored == replace(task(1), seq=1)
        assert await store.read(lambda tx: tx.tasks.by_uid("u1")) == stored
        assert await store.read(lambda tx: tx.tasks.by_name("default", "t1")) == stored
        assert await store.read(lambda tx: tx.tasks.by_key("alice", "k1")) == stored
        assert await store.read(lambda tx: tx.tasks.by_key("bob", "k1")) is None

    asyncio.run(main())


def test_the_oldest_finished_tasks_go_first_when_there_are_too_many() -> None:
    async def main() -> None:
        store = memory_store(StillClock(), CountingIds())

        def work(tx: Transaction) -> None:
            for number in range(1, 11):
                (row,) = tx.tasks.add([(task(number), [b""])])
                tx.tasks.cancel(row.seq, at=100.0 + number)
            tx.tasks.add([(task(11), [b""])])

        await store.run(work)

        assert await store.read(lambda tx: tx.tasks.expired(0.0, 10, 100)) == ()
        assert await store.read(lambda tx: tx.tasks.expired(0.0, 7, 100)) == (1, 2, 3)
        assert await store.read(lambda tx: tx.tasks.expired(106.0 + 3600.0, 7, 100)) == (1, 2, 3, 4, 5)
        assert await store.read(lambda tx: tx.tasks.expired(106.0 + 3600.0, 7, 2)) == (1, 2)

        await store.run(lambda tx: tx.tasks.remove((10, 11)))
        (again,) = await store.run(lambda tx: tx.tasks.add([(task(12), [b""])]))
        assert again.seq == 12, "a seq is never given again"

    asyncio.run(main())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 127, 128, 129, 300])
def test_batches_cover_all_rows_in_order_with_sizes_of_powers_of_two(count: int) -> None:
    parts = list(chunks(range(count)))

    assert [row for part in parts for row in part] == list(range(count))
    assert all(len(part).bit_count() == 1 and len(part) <= 128 for part in parts)


def test_a_batch_that_matches_in_part_ends_exactly_that_part() -> None:
    async def main() -> None:
        store = memory_store(StillClock(), CountingIds())

        def work(tx: Transaction) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
            tx.tasks.add([(task(1, items=10), [b""] * 10)])
            rows = [LeaseRow(1, item, 1, f"s{item}", "uid", "node") for item in range(10)]
            leased = tx.tasks.lease(rows[:7], 5.0)
            assert tx.tasks.lease(rows, 5.0) == (False,) * 7 + (True,) * 3
            ends = [
                EndRow(1, item, 1, f"s{item}" if item % 2 else "guess", 0, 6.0, outcome="Succeeded")
                for item in range(10)
            ]
            return leased, tx.tasks.end([*ends, ends[1]])

        leased, ended = await store.run(work)

        assert leased == (True,) * 7
        assert ended == (False, True) * 5 + (False,)
        row = await store.read(lambda tx: tx.tasks.by_uid("u1"))
        assert row is not None
        assert (row.succeeded, row.failed, row.started_at, row.finished_at) == (5, 0, 5.0, None)

    asyncio.run(main())
