"""The one writer: runs works in batches, one transaction and one commit for each batch.

Every work has a savepoint of its own, so it fails alone; a commit that fails, fails them all. Works are handed over
and answered on the event loop; in between nothing waits for the loop. A quick work that finds the thread idle runs at
once on the loop's own thread: going to another thread and back takes several times as long as its whole transaction.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from skyward.contracts import Change, Ids, Lease
from skyward.errors import LeadershipLost, StoreUnavailable
from skyward.store.checkpoints import Checkpoints
from skyward.store.database import Database
from skyward.store.objects import Retention
from skyward.store.transaction import SqlTransaction
from skyward.store.versions import Versions

log = structlog.get_logger()

Publish = Callable[[Sequence[Change]], None]
_LARGEST_BATCH = 256
_SLOW_S = 0.02
"""A quick work that took longer met a slow disk: until `_WARY_S` later all go to the thread, where they delay nobody else."""
_WARY_S = 1.0


@dataclass(slots=True, eq=False)
class Job:
    """One work and how it ended."""

    work: Callable[[SqlTransaction], Any]
    power_safe: bool
    leads: bool = False
    """A lease that it returns fences every later batch."""
    future: asyncio.Future[Any] | None = None
    result: Any = None
    error: Exception | None = None


class _TransactionLost(Exception):
    """SQLite rolled the whole transaction back on its own (disk full, I/O error)."""


class Batches:
    """Runs a batch of jobs on the writing connection. Used by one thread at a time."""

    def __init__(
        self,
        database: Database,
        ids: Ids,
        now: Callable[[], float],
        *,
        newest: int,
        retention: Retention,
        path: Path | None = None,
    ) -> None:
        self._database = database
        self._ids = ids
        self._now = now
        self._versions = Versions(newest)
        self._retention = retention
        self._pruned_at = newest
        self._path = path
        self._identity = _identity(path)
        self._fence: Lease | None = None

    def run(self, jobs: Sequence[Job]) -> Sequence[Change]:
        """Fill in every job's result or error, and return what was committed. Never raises."""
        durable = any(job.power_safe for job in jobs)
        changes: list[Change] = []
        try:
            if _identity(self._path) != self._identity:
                raise StoreUnavailable(f"{self._path} was removed or replaced while in use: restart the operator")
            if durable:
                self._database.raw.execute("PRAGMA synchronous = FULL")
            with self._database.transaction():
                self._check_leads()
                for job in jobs:
                    self._run_one(job, changes)
                if self._versions.newest - self._pruned_at >= self._retention.every:
                    self._run_one(Job(lambda tx: tx.prune(self._retention), power_safe=False), changes)
                    self._pruned_at = self._versions.newest
            self._take_fence(jobs)
            return changes
        except LeadershipLost as error:
            for job in jobs:
                job.error = error
            return ()
        except (sqlite3.Error, DBAPIError, StoreUnavailable, _TransactionLost) as error:
            for job in jobs:
                if job.error is None:
                    job.error = _unavailable(error)
            return ()
        finally:
            if durable:
                with suppress(sqlite3.Error):  # the next batch reports what is wrong with the connection
                    self._database.raw.execute("PRAGMA synchronous = NORMAL")

    def _check_leads(self) -> None:
        """Inside the transaction, so nobody takes the lease between this look and the commit."""
        if self._fence is None:
            return
        query = "SELECT holder, epoch FROM leases WHERE name = ?"
        row = self._database.raw.execute(query, (self._fence.name,)).fetchone()
        if row != (self._fence.holder, self._fence.epoch):
            by = f"epoch {row[1]} has begun" if row is not None else "the lease is gone"
            raise LeadershipLost(
                f"this operator led in epoch {self._fence.epoch}, and {by}: nothing of this was written"
            )

    def _take_fence(self, jobs: Sequence[Job]) -> None:
        """Whoever led before us may have written until now: go on counting from there."""
        for job in jobs:
            if job.leads and isinstance(job.result, Lease):
                self._fence = job.result
                (newest,) = self._database.raw.execute("SELECT max(resource_version) FROM changes").fetchone()
                self._versions.newest = self._pruned_at = max(self._versions.newest, newest or 0)

    def _run_one(self, job: Job, changes: list[Change]) -> None:
        raw = self._database.raw
        tx = SqlTransaction(self._database, self._versions, self._ids, self._now, writable=True)
        raw.execute("SAVEPOINT work")
        try:
            job.result = job.work(tx)
        except Exception as error:  # whatever the work raises is its caller's
            job.error = _unavailable(error) if _is_trouble(error) else error
            if not raw.in_transaction:
                raise _TransactionLost(str(error)) from error
            raw.execute("ROLLBACK TO work")
        else:
            changes.extend(tx.changes)
        raw.execute("RELEASE work")


class InlineWriter:
    """Runs each work where it is called: for tests and the simulator, where threads would be chance."""

    def __init__(self, batches: Batches, publish: Publish) -> None:
        self._batches = batches
        self._publish = publish

    async def run(
        self, work: Callable[[SqlTransaction], Any], power_safe: bool, *, leads: bool = False, quick: bool = False
    ) -> Any:
        return _run_now(self._batches, self._publish, Job(work, power_safe, leads))

    @property
    def is_idle(self) -> bool:
        return True

    def close(self) -> None:
        pass


class ThreadWriter:
    """Runs works on one thread: all that wait when it gets to them share a commit."""

    def __init__(self, batches: Batches, publish: Publish, checkpoints: Checkpoints) -> None:
        self._batches = batches
        self._publish = publish
        self._checkpoints = checkpoints
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._under_way = 0
        """Works that the thread has; while it has none, it waits and touches nothing."""
        self._wary_until = 0.0
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    async def run(
        self, work: Callable[[SqlTransaction], Any], power_safe: bool, *, leads: bool = False, quick: bool = False
    ) -> Any:
        if quick and not power_safe and self.is_idle:
            return self._run_here(Job(work, power_safe))
        job = Job(work, power_safe, leads, asyncio.get_running_loop().create_future())
        assert job.future is not None
        self._under_way += 1
        self._waiting.put(job)
        return await job.future

    def close(self) -> None:
        """Blocks until everything that was handed over is committed."""
        self._waiting.put(None)
        self._thread.join()
        self._checkpoints.close()

    @property
    def is_idle(self) -> bool:
        return not self._under_way and not self._checkpoints.is_overdue and time.monotonic() >= self._wary_until

    def _run_here(self, job: Job) -> Any:
        began = time.monotonic()
        try:
            return _run_now(self._batches, self._publish, job)
        finally:
            self._checkpoints.wrote()
            ended = time.monotonic()
            if ended - began > _SLOW_S:
                self._wary_until = ended + _WARY_S

    def _serve(self) -> None:
        is_open = True
        while is_open:
            jobs = [self._waiting.get()]
            with suppress(queue.Empty):
                while len(jobs) < _LARGEST_BATCH:
                    jobs.append(self._waiting.get_nowait())
            is_open = None not in jobs
            batch = [job for job in jobs if job is not None]
            if batch:
                if self._checkpoints.is_overdue:
                    self._checkpoints.catch_up()
                changes = self._batches.run(batch)
                self._checkpoints.wrote()
                self._answer(batch, changes)

    def _answer(self, jobs: Sequence[Job], changes: Sequence[Change]) -> None:
        assert jobs[0].future is not None
        try:
            jobs[0].future.get_loop().call_soon_threadsafe(self._deliver, jobs, changes)
        except RuntimeError:  # the loop is closed: the work is committed, nobody waits for it any more
            log.warning("event loop closed before its writes were answered", works=len(jobs))

    def _deliver(self, jobs: Sequence[Job], changes: Sequence[Change]) -> None:
        self._under_way -= len(jobs)
        if changes:
            self._publish(changes)
        for job in jobs:
            if job.future is None or job.future.done():
                continue  # its caller was cancelled; the work was not
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)


def _run_now(batches: Batches, publish: Publish, job: Job) -> Any:
    changes = batches.run([job])
    if changes:
        publish(changes)
    if job.error is not None:
        raise job.error
    return job.result


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        info = os.stat(path)  # noqa: PTH116 (before every commit)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _is_trouble(error: Exception) -> bool:
    """Of the database itself (disk, I/O, lock), not of the work."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    mistakes = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    return isinstance(cause, sqlite3.Error) and not isinstance(cause, mistakes)


def _unavailable(error: Exception) -> StoreUnavailable:
    if isinstance(error, StoreUnavailable):
        return StoreUnavailable(str(error))
    cause = error.orig if isinstance(error, DBAPIError) else error
    unavailable = StoreUnavailable(f"the store could not commit, nothing of this was written: {cause}")
    unavailable.__cause__ = error
    return unavailable
