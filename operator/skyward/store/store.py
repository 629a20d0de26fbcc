"""The store on SQLite: opened, used, closed."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

import structlog
from sqlalchemy.exc import DBAPIError, OperationalError

from skyward.contracts import Change, Clock, Ids, Lease, Transaction
from skyward.errors import LeadershipLost, StateUnusable, StoreUnavailable
from skyward.store import schema
from skyward.store.checkpoints import Checkpoints
from skyward.store.database import Database, open_memory, open_reader, open_writer
from skyward.store.identity import check_identity, known_installation
from skyward.store.lock import StateLock
from skyward.store.objects import Retention
from skyward.store.transaction import SqlTransaction
from skyward.store.versions import Versions
from skyward.store.writer import Batches, InlineWriter, ThreadWriter

log = structlog.get_logger()
T = TypeVar("T")

DATABASE = "skyward.db"
_READERS = 2
_DEFAULT = Retention()


class SqlStore:
    """Implements `contracts.FencedStore`. Made by `open_store` and `memory_store`."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        ids: Ids,
        retention: Retention,
        path: Path | None = None,
        lock: StateLock | None = None,
        installation: str | None = None,
        owns: bool = True,
    ) -> None:
        """A new store becomes that of `installation`, if one is given. Only who `owns` the database closes it."""
        self._database = database
        self._owns = owns
        self._clock = clock
        self._ids = ids
        self._path = path
        self._lock = lock
        self._subscribers: list[Callable[[Sequence[Change]], None]] = []
        self._closed = False
        self._lost: Callable[[], None] = lambda: None
        self._installation = self._enter(installation)
        newest = self._view(database).version()
        batches = Batches(database, ids, clock.now, newest=newest, retention=retention, path=path)
        if path is None:
            self._writer: InlineWriter | ThreadWriter = InlineWriter(batches, self._publish)
        else:
            self._writer = ThreadWriter(batches, self._publish, Checkpoints(path, database.raw))
        self._readers = _Readers(path, self._view) if path is not None else None

    @property
    def installation(self) -> str:
        return self._installation

    @property
    def is_exclusive(self) -> bool:
        """No other process has this store: whoever else holds the leader lease is dead."""
        return self._lock is not None

    def newest_time(self) -> float:
        """When something was last written, seconds since 1970; 0 for a new store. Reads every object: for the start."""
        (newest,) = self._database.raw.execute("SELECT max(updated_at) FROM objects").fetchone()
        return newest or 0.0

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False, quick: bool = False) -> T:
        self._check_open()
        try:
            return cast(T, await self._writer.run(work, power_safe, quick=quick))
        except LeadershipLost:
            self._lost()
            raise

    @property
    def is_idle(self) -> bool:
        return self._writer.is_idle

    async def lead(self, take: Callable[[Transaction], Lease | None], lost: Callable[[], None]) -> Lease | None:
        self._check_open()
        self._lost = lost
        return cast("Lease | None", await self._writer.run(take, power_safe=True, leads=True))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._read(work)

    async def changes(self, since: int, limit: int = 1000) -> Sequence[Change]:
        return await self._read(lambda tx: tx.changes_since(since, limit))

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        self._subscribers.append(callback)

        def stop() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return stop

    async def close(self) -> None:
        """Commit what was handed over, leave one tidy file, and give the directory free. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._path is None:
            if self._owns:
                self._database.close()
        else:
            await asyncio.to_thread(self._shut_down)

    def _shut_down(self) -> None:
        self._writer.close()
        if self._readers is not None:
            self._readers.close()
        try:
            self._database.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:  # everything is in the journal, which the next start reads
            log.warning("store not checkpointed", error=str(error))
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    async def _read(self, work: Callable[[SqlTransaction], T]) -> T:
        self._check_open()
        if self._readers is None:  # one thread, and nothing in `work` waits: nobody writes meanwhile
            return work(self._view(self._database))
        return await self._readers.run(work)

    def _enter(self, installation: str | None) -> str:
        """The installation's uid, made with the store."""
        raw = self._database.raw
        with self._database.transaction():
            uid = installation or self._ids.uid()
            raw.execute("INSERT OR IGNORE INTO meta VALUES ('installation', ?)", (uid,))
            (stored,) = raw.execute("SELECT value FROM meta WHERE name = 'installation'").fetchone()
        return cast(str, stored)

    def _view(self, database: Database) -> SqlTransaction:
        return SqlTransaction(database, Versions(0), self._ids, self._clock.now, writable=False)

    def _publish(self, changes: Sequence[Change]) -> None:
        for callback in tuple(self._subscribers):
            try:
                callback(changes)
            except Exception:  # one bad subscriber must not keep the others, or the writers, waiting
                log.exception("subscriber failed", changes=len(changes))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed: the operator is stopping")


class _Readers:
    """A few threads, each with a connection of its own."""

    def __init__(self, path: Path, view: Callable[[Database], SqlTransaction]) -> None:
        self._path = path
        self._view = view
        self._local = threading.local()
        self._opened: list[Database] = []
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")

    async def run(self, work: Callable[[SqlTransaction], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, work)

    def close(self) -> None:
        self._threads.shutdown()
        for database in self._opened:
            database.close()

    def _read(self, work: Callable[[SqlTransaction], T]) -> T:
        database: Database | None = getattr(self._local, "database", None)
        try:
            if database is None:
                database = self._local.database = open_reader(self._path)
                self._opened.append(database)
            with database.transaction():
                return work(self._view(database))
        except (sqlite3.OperationalError, OperationalError) as error:
            raise StoreUnavailable(f"the store could not be read: {error}") from error


def open_store(
    directory: Path,
    *,
    clock: Clock,
    ids: Ids,
    retention: Retention = _DEFAULT,
    max_pages: int | None = None,
    installation: str | None = None,
) -> SqlStore:
    """The store of a state directory, which it makes and keeps private; until `close`, no other process gets it.

    A new database belongs to the installation that the directory remembers, or to the one given. `max_pages` limits the
    database file, to rehearse a full disk. Raises StateDirectoryInUse, StateUnusable, StoreUnavailable.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        lock = StateLock(directory, clock.now())
    except OSError as error:
        raise StateUnusable(f"the state directory {directory} cannot be used: {error.strerror}") from error
    path = directory / DATABASE
    database: Database | None = None
    try:
        database = open_writer(path, max_pages=max_pages)
        _check(database, path)
        schema.prepare(database, str(path))
        store = SqlStore(
            database,
            clock=clock,
            ids=ids,
            retention=retention,
            path=path,
            lock=lock,
            installation=known_installation(directory) or installation,
        )
        check_identity(directory, store.installation, installation)
        return store
    except BaseException as error:
        if database is not None:
            database.close()
        lock.release()
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, sqlite3.OperationalError | OSError):
            raise StoreUnavailable(
                f"{path} cannot be used now ({cause}): see to its disk and start again; nothing of it was changed"
            ) from error
        if isinstance(cause, sqlite3.Error):
            raise _damaged(path, str(cause)) from error
        raise


def memory_store(
    clock: Clock, ids: Ids, *, retention: Retention = _DEFAULT, beside: SqlStore | None = None
) -> SqlStore:
    """The same store without a file and without threads: every work runs where it is called. Gone when closed.

    `beside` opens the data of another one as a second process would: with subscribers and a leadership of its own. It ends
    with the first."""
    if beside is not None:
        return SqlStore(beside._database, clock=clock, ids=ids, retention=retention, owns=False)
    database = open_memory()
    schema.prepare(database, "the store in memory")
    return SqlStore(database, clock=clock, ids=ids, retention=retention)


def _check(database: Database, path: Path) -> None:
    (verdict,) = database.raw.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(path, verdict)


def _damaged(path: Path, why: str) -> StateUnusable:
    return StateUnusable(
        f"{path} cannot be used ({why}): restore it from a backup; moving it away starts anew without any record of "
        "what was launched"
    )
