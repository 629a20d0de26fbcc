"""SQLite connections: how they are opened, and what every one of them is told.

Statements run as text on the DBAPI connection (pysqlite's own implicit transactions are switched off). SQLAlchemy, on the
same connection, is for the schema alone: to make it, and to migrate it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import quote

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event

from skyward.store.parsed import Parsed

_CACHE_KIB = 16 * 1024
"""Of the file, what the writer keeps in memory once it was used: the indices of a long queue."""
_STATEMENTS = 512
"""Prepared statements kept per connection: batches come in sizes of powers of two, each its own statement."""


class Database:
    """One connection. Used by one thread at a time."""

    def __init__(self, raw: sqlite3.Connection, begin: str) -> None:
        self.raw = raw
        self.parsed = Parsed()
        self._begin = begin
        engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        event.listen(engine, "begin", lambda _: raw.execute(begin))
        self._engine: Engine = engine
        self.sql: Connection = engine.connect()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Committed at the end; rolled back when anything is raised in here, or by the commit."""
        self.raw.execute(self._begin)
        try:
            yield
            self.raw.execute("COMMIT")
        except BaseException:
            if self.raw.in_transaction:  # or SQLite already rolled it back
                self.raw.execute("ROLLBACK")
            raise

    def pragma(self, name: str) -> int:
        return cast(int, self.raw.execute(f"PRAGMA {name}").fetchone()[0])

    def close(self) -> None:
        self.sql.close()
        self._engine.dispose()
        self.raw.close()


def open_writer(path: Path, *, max_pages: int | None = None) -> Database:
    """The one connection that writes. The file is made private to this user before SQLite opens it; its journal files
    take its mode. Raises sqlite3.Error."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    raw = _connect(str(path))
    raw.execute("PRAGMA journal_mode = WAL").fetchone()
    raw.execute("PRAGMA synchronous = NORMAL")
    raw.execute("PRAGMA journal_size_limit = 67108864").fetchone()
    raw.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
    raw.execute(f"PRAGMA cache_size = -{_CACHE_KIB}").fetchone()
    if max_pages is not None:
        raw.execute(f"PRAGMA max_page_count = {int(max_pages)}").fetchone()
    return Database(raw, "BEGIN IMMEDIATE")


def open_reader(path: Path) -> Database:
    """A connection that cannot write; each of its transactions sees one committed state."""
    raw = _connect(f"file:{quote(str(path))}?mode=ro")
    raw.execute("PRAGMA query_only = ON")
    return Database(raw, "BEGIN")


def open_checkpointer(path: Path) -> sqlite3.Connection:
    """A connection that only moves what others committed from the journal into the file."""
    raw = _connect(str(path))
    raw.execute("PRAGMA synchronous = NORMAL")
    return raw


def open_memory() -> Database:
    return Database(_connect(":memory:"), "BEGIN IMMEDIATE")


def _connect(target: str) -> sqlite3.Connection:
    raw = sqlite3.connect(
        target,
        uri=target.startswith("file:"),
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )
    raw.execute("PRAGMA busy_timeout = 5000").fetchone()
    raw.execute("PRAGMA foreign_keys = ON")
    return raw
