"""Moving what is committed from the journal into the database file, beside the writer instead of within its commits.

SQLite would do it inside the commit that fills the journal: one caller in a few hundred would wait for the disk, and all
others behind it. Here a thread with a connection of its own does it, while the writer goes on.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import structlog

from skyward.store.database import open_checkpointer

log = structlog.get_logger()

_EVERY_ROWS = 2_000
_LOOK_S = 1.0
_LONG_BYTES = 8 * 1024 * 1024
"""Few rows may be large ones: so often it is looked whether the journal has become this long."""
_LONGEST_PAGES = 16_384
"""A journal that never comes to its end, because the writer always writes, begins anew only when the writer waits for it."""


class Checkpoints:
    """`wrote` is called after each commit, by whoever committed."""

    def __init__(self, path: Path, writer: sqlite3.Connection) -> None:
        self._writer = writer
        self._journal = path.with_name(f"{path.name}-wal")
        self._done_at = writer.total_changes
        self._look_at = 0.0
        self._wanted = threading.Event()
        self._is_open = True
        self.is_overdue = False
        """The journal is too long: the writer is to let `catch_up` run before it goes on."""
        self._own = open_checkpointer(path)
        self._thread = threading.Thread(target=self._serve, name="store-checkpoints", daemon=True)
        self._thread.start()

    def wrote(self) -> None:
        changes = self._writer.total_changes
        if changes - self._done_at >= _EVERY_ROWS or self._is_long():
            self._done_at = changes
            self._wanted.set()

    def catch_up(self) -> None:
        """On the writer's thread, between two transactions: nothing is added meanwhile, so all of the journal is done with."""
        self.is_overdue = False
        _checkpoint(self._writer)

    def close(self) -> None:
        """Blocks until the thread has ended."""
        self._is_open = False
        self._wanted.set()
        self._thread.join()
        self._own.close()

    def _is_long(self) -> bool:
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_S
        try:
            return self._journal.stat().st_size >= _LONG_BYTES
        except OSError:  # it was taken away: the next commit says so
            return False

    def _serve(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if not self._is_open:
                return
            self.is_overdue = _checkpoint(self._own) > _LONGEST_PAGES


def _checkpoint(raw: sqlite3.Connection) -> int:
    """Pages that the journal has. Waits for nobody."""
    try:
        (_, pages, _) = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error as error:  # everything is in the journal; the next one does it
        log.warning("store not checkpointed", error=str(error))
        return 0
    return int(pages)
