"""The state directory: who has it, what is in it, and what survives."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from skyward.api import Pool
from skyward.contracts import Transaction
from skyward.errors import StateDirectoryInUse, StateUnusable, StoreUnavailable
from skyward.store import SqlStore, open_store, schema
from skyward.store.database import Database, open_writer
from skyward.store.tables import SCHEMA_VERSION
from tests.store.world import CountingIds, StillClock, pool

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures"


def opened(directory: Path, *, max_pages: int | None = None) -> SqlStore:
    return open_store(directory, clock=StillClock(), ids=CountingIds(), max_pages=max_pages)


@contextmanager
def writing_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the store; the caller may kill it."""
    command = [sys.executable, "-m", "tests.store.writing_process", str(directory)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_versions_and_installation_survive_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        first = opened(tmp_path)
        await first.run(lambda tx: tx.put(pool(nodes=1)))
        gone = await first.run(lambda tx: tx.put(pool("gone")))
        await first.run(lambda tx: tx.delete(gone))
        await first.close()
        await first.close()

        second = opened(tmp_path)
        put = await second.run(lambda tx: tx.put(pool(nodes=2)))

        assert put.metadata.resource_version == "4"
        assert second.installation == first.installation
        assert [change.resource_version for change in await second.changes(0)] == [1, 2, 3, 4]
        await second.close()

    asyncio.run(main())


def test_state_is_private_to_the_user(tmp_path: Path) -> None:
    directory = tmp_path / "with a space" / "state"
    directory.mkdir(parents=True, mode=0o755)

    async def main() -> None:
        store = opened(directory)
        await store.run(lambda tx: tx.put(pool()))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        await store.close()

        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert set(modes.values()) == {0o600}
        assert {"skyward.db", "operator.lock"} <= set(modes)

    asyncio.run(main())


def test_a_second_store_in_the_same_process_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(StateDirectoryInUse, match=f"pid {os.getpid()} "):
        opened(tmp_path)
    asyncio.run(store.close())

    asyncio.run(opened(tmp_path).close())


@pytest.mark.slow
def test_a_second_operator_is_refused_and_told_who_holds_the_directory(tmp_path: Path) -> None:
    with writing_process(tmp_path) as process, pytest.raises(StateDirectoryInUse) as refused:
        opened(tmp_path)

    assert f"pid {process.pid} on " in str(refused.value)
    assert "running since 2023-" in str(refused.value)


@pytest.mark.slow
def test_a_killed_process_leaves_every_acknowledged_write_and_no_lock(tmp_path: Path) -> None:
    with writing_process(tmp_path) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(40)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.read().split()
        acknowledged = int(lines[-1])

    async def main() -> None:
        store = opened(tmp_path)
        names = {p.metadata.name for p in await store.read(lambda tx: tx.list(Pool))}
        assert names >= {f"p{number}" for number in range(acknowledged)}
        assert len(await store.changes(0, limit=1_000_000)) == len(names)
        await store.close()

    asyncio.run(main())


def test_a_full_disk_fails_its_works_and_loses_nothing_earlier(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path, max_pages=60)
        await store.run(lambda tx: tx.put(pool("before")))

        def fill(tx: Transaction) -> None:
            tx.tasks.put_function("digest", b"x" * 1_000_000, 0.0)

        works = [store.run(lambda tx: tx.put(pool("small"))), store.run(fill), store.run(fill)]
        answers = await asyncio.gather(*works, return_exceptions=True)

        assert isinstance(answers[1], StoreUnavailable)
        assert "full" in str(answers[1])
        names = {p.metadata.name for p in await store.read(lambda tx: tx.list(Pool))}
        assert names == ({"before"} if isinstance(answers[0], StoreUnavailable) else {"before", "small"})
        await store.run(lambda tx: tx.put(pool("after")))
        assert await store.read(lambda tx: tx.get(Pool, "default/after")) is not None
        await store.close()

    asyncio.run(main())


def test_a_cancelled_caller_does_not_cancel_its_work(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        caller = asyncio.ensure_future(store.run(lambda tx: tx.put(pool("kept"))))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

        await store.run(lambda tx: None)
        assert await store.read(lambda tx: tx.get(Pool, "default/kept")) is not None
        await store.close()

    asyncio.run(main())


def test_closing_commits_what_was_handed_over_and_refuses_what_comes_later(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        works = [asyncio.ensure_future(store.run(lambda tx, n=n: tx.put(pool(f"p{n}")))) for n in range(300)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*works)
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.run(lambda tx: None)

        again = opened(tmp_path)
        assert len(await again.read(lambda tx: tx.list(Pool))) == 300
        await again.close()

    asyncio.run(main())


def test_power_safe_work_commits_with_full_synchronisation_and_the_next_without(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)

        def level(tx: Transaction) -> int:
            return store._database.pragma("synchronous")

        assert await store.run(level) == 1
        assert await store.run(level, power_safe=True) == 2
        assert await store.run(level) == 1
        await store.close()

    asyncio.run(main())


def test_a_replaced_database_file_stops_all_writing(tmp_path: Path) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        (tmp_path / "skyward.db").rename(tmp_path / "moved.db")

        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await store.run(lambda tx: tx.put(pool()))
        await store.close()

    asyncio.run(main())


def test_a_disk_that_is_full_at_the_start_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"full.*start again"):
        opened(tmp_path, max_pages=1)

    asyncio.run(opened(tmp_path).close())


@pytest.mark.parametrize("damage", ["not a database", "flipped bytes"])
def test_a_damaged_database_is_refused_with_what_to_do(tmp_path: Path, damage: str) -> None:
    async def main() -> None:
        store = opened(tmp_path)
        for number in range(200):
            await store.run(lambda tx, n=number: tx.put(pool(f"p{n}")))
        await store.close()

    asyncio.run(main())
    path = tmp_path / "skyward.db"
    content = bytearray(path.read_bytes())
    if damage == "not a database":
        content[:100] = b"x" * 100
    else:
        content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    path.write_bytes(content)

    with pytest.raises(StateUnusable, match="restore it from a backup"):
        opened(tmp_path)
    assert path.read_bytes() == content, "evidence is never overwritten"


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateUnusable, match="cannot be used"):
        opened(tmp_path / "file")


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    asyncio.run(opened(tmp_path).close())
    with closing(sqlite3.connect(tmp_path / "skyward.db")) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '0099'")

    with pytest.raises(StateUnusable, match=r"newer version of skyward-operator \(schema 99"):
        opened(tmp_path)

    with closing(sqlite3.connect(tmp_path / "skyward.db")) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("0099",)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_every_stored_version_opens_with_its_objects(tmp_path: Path, version: int) -> None:
    with closing(sqlite3.connect(tmp_path / "skyward.db")) as raw:
        raw.executescript((FIXTURES / f"v{version}.sql").read_text())

    async def main() -> None:
        store = opened(tmp_path)
        assert store.installation == "00000000-0000-4000-8000-000000000001"
        stored = await store.read(lambda tx: tx.get(Pool, "default/hello"))
        assert stored is not None
        assert (stored.spec.nodes, stored.metadata.resource_version) == (3, "2")
        await store.close()

    asyncio.run(main())


def shape(database: Database) -> set[str]:
    """Every table and index, whatever the order of its columns and the layout of its text."""
    rows = database.raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {f"{name}: {' '.join(sorted(re.findall(r'[A-Za-z0-9_]+', sql)))}" for name, sql in rows}


def test_the_migrations_lead_to_the_same_schema_as_a_new_store(tmp_path: Path) -> None:
    new, migrated = open_writer(tmp_path / "new.db"), open_writer(tmp_path / "migrated.db")
    schema.prepare(new, "new")
    with migrated.sql.begin():
        schema.migrate(migrated.sql)

    assert schema.version_of(migrated) == SCHEMA_VERSION
    assert shape(migrated) == shape(new)
    new.close()
    migrated.close()


def test_a_failing_migration_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    database = open_writer(tmp_path / "old.db")
    database.raw.execute("CREATE TABLE functions (digest VARCHAR)")  # stands in the way of the first migration

    with pytest.raises(Exception, match="already exists"), database.sql.begin():
        schema.migrate(database.sql)

    assert [row[0] for row in database.raw.execute("SELECT name FROM sqlite_master")] == ["functions"]
    database.close()


def test_opening_imports_no_migration_tool(tmp_path: Path) -> None:
    probe = (
        "import asyncio, sys; from pathlib import Path; from skyward.store import open_store; "
        "from tests.store.world import CountingIds, StillClock; "
        "asyncio.run(open_store(Path(sys.argv[1]), clock=StillClock(), ids=CountingIds()).close()); "
        "print('alembic' in sys.modules)"
    )
    command = [sys.executable, "-c", probe, str(tmp_path)]

    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"
