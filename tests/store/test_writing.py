"""On which thread a work runs, and what becomes of the journal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from skyward.api import Pool
from skyward.contracts import Transaction
from skyward.store import SqlStore, open_store
from skyward.store.checkpoints import Checkpoints
from skyward.store.database import open_writer
from tests.store.world import CountingIds, StillClock, pool

POLLS = 2_000
FEW_ROWS = 1_500
"""Too few for the journal to be moved for their number."""


def run(directory: Path, scenario: Callable[[SqlStore], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        store = open_store(directory, clock=StillClock(), ids=CountingIds())
        await scenario(store)
        await store.close()

    asyncio.run(main())


def where(tx: Transaction) -> str:
    return threading.current_thread().name


def test_a_quick_work_runs_where_it_is_called_when_nothing_else_is_written(tmp_path: Path) -> None:
    async def scenario(store: SqlStore) -> None:
        assert store.is_idle

        assert await store.run(where, quick=True) == threading.current_thread().name
        assert await store.run(where) == "store-writer"
        assert await store.run(where, quick=True, power_safe=True) == "store-writer"

    run(tmp_path, scenario)


def test_a_quick_work_waits_behind_what_is_being_written(tmp_path: Path) -> None:
    async def scenario(store: SqlStore) -> None:
        before = asyncio.ensure_future(store.run(lambda tx: tx.put(pool("before"))))
        await asyncio.sleep(0)
        assert not store.is_idle

        seen = await store.run(lambda tx: (where(tx), tx.get(Pool, "default/before")), quick=True)

        assert (seen[0], seen[1]) == ("store-writer", await before)
        assert store.is_idle

    run(tmp_path, scenario)


def test_a_quick_work_that_fails_leaves_nothing_and_disturbs_nobody(tmp_path: Path) -> None:
    async def scenario(store: SqlStore) -> None:
        def fails(tx: Transaction) -> None:
            tx.put(pool("half"))
            raise ValueError("a mistake")

        with pytest.raises(ValueError, match="a mistake"):
            await store.run(fails, quick=True)

        await store.run(lambda tx: tx.put(pool("whole")), quick=True)
        assert [one.metadata.name for one in await store.read(lambda tx: tx.list(Pool))] == ["whole"]

    run(tmp_path, scenario)


def test_subscribers_hear_of_a_quick_work_before_its_caller_goes_on(tmp_path: Path) -> None:
    async def scenario(store: SqlStore) -> None:
        heard: list[str] = []
        store.subscribe(lambda changes: heard.extend(change.object.metadata.name for change in changes))

        await store.run(lambda tx: tx.put(pool("new")), quick=True)

        assert heard == ["new"]

    run(tmp_path, scenario)


def test_works_go_to_the_thread_once_the_disk_was_slow(tmp_path: Path) -> None:
    async def scenario(store: SqlStore) -> None:
        def slow(tx: Transaction) -> None:
            until = time.monotonic() + 0.03
            while time.monotonic() < until:
                pass

        await store.run(slow, quick=True)

        assert not store.is_idle
        assert await store.run(where, quick=True) == "store-writer"

    run(tmp_path, scenario)


def test_the_journal_is_moved_into_the_file_beside_the_commits(tmp_path: Path) -> None:
    async def scenario(store: SqlStore) -> None:
        file = tmp_path / "skyward.db"
        small = file.stat().st_size

        def fill(tx: Transaction) -> None:
            for number in range(500):
                tx.tasks.put_function(f"digest {number}", b"x" * 1_000, 0.0)

        for _ in range(6):
            await store.run(fill)

        for _ in range(POLLS):
            if file.stat().st_size > small:
                break
            await asyncio.sleep(0.01)
        assert file.stat().st_size > small

    run(tmp_path, scenario)


def test_a_few_large_rows_are_moved_as_well(tmp_path: Path) -> None:
    async def scenario(store: SqlStore) -> None:
        large = b"x" * 10_000_000

        await store.run(lambda tx: tx.tasks.put_function("large", large, 0.0))

        for _ in range(FEW_ROWS):
            await store.run(lambda tx: tx.tasks.put_function("small", b"small", 0.0))
            if (tmp_path / "skyward.db").stat().st_size > len(large):
                break
            await asyncio.sleep(0.01)
        assert (tmp_path / "skyward.db").stat().st_size > len(large)

    run(tmp_path, scenario)


def test_a_journal_that_is_too_long_begins_anew_when_the_writer_waits_for_it(tmp_path: Path) -> None:
    database = open_writer(tmp_path / "skyward.db")
    raw = database.raw
    raw.execute("CREATE TABLE t (a)")
    checkpoints = Checkpoints(tmp_path / "skyward.db", raw)
    checkpoints.is_overdue = True
    raw.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    long = (tmp_path / "skyward.db-wal").stat().st_size

    checkpoints.catch_up()
    raw.execute("INSERT INTO t VALUES (zeroblob(500000))")

    assert not checkpoints.is_overdue
    assert (tmp_path / "skyward.db-wal").stat().st_size == long
    checkpoints.close()
    database.close()
