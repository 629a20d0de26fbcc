"""The one task queue: submit, lease, report, cancel, each one transaction, fenced by attempt.

Rows are the truth; memory only proposes: who is next, who holds what. Nothing here looks into a payload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from itertools import groupby

import structlog

from skyward.api import Task, TaskItem, to_time
from skyward.contracts import (
    Accepted,
    Clock,
    Holder,
    Ids,
    NodeDirectory,
    PoolDirectory,
    QueueListener,
    Store,
    Submission,
    TaskRow,
    Transaction,
)
from skyward.errors import Conflict, NotFound, TaskError
from skyward.queue import submission, views
from skyward.queue.alarm import Alarm
from skyward.queue.arrivals import Arrivals
from skyward.queue.attempts import Attempts
from skyward.queue.blocked import Blocked
from skyward.queue.board import Board
from skyward.queue.commits import Commits
from skyward.queue.functions import FUNCTION_TTL_S, Functions
from skyward.queue.live import LiveTask
from skyward.queue.notices import Notices
from skyward.queue.plain import AnyNode
from skyward.queue.room import MOST_TASKS, Room
from skyward_agent.wire.messages import CANCELLED, NODE_LOST, TIMED_OUT, AttemptId, Failure, Lease, Report, Result

log = structlog.get_logger()

KEPT_FINISHED = 100_000
"""The most finished tasks that are kept: beyond it the oldest go first."""
_LARGE_BYTES = 1024 * 1024
"""Hashed in a thread from this size on."""


class DurableQueue:
    """Implements `contracts.TaskQueue`. Used on one event loop; `recover` comes first."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        ids: Ids,
        pools: PoolDirectory,
        nodes: NodeDirectory | None = None,
        most_tasks: int = MOST_TASKS,
    ) -> None:
        """`most_tasks`: unfinished ones of one pool; further submits wait."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._pools = pools
        self._nodes = nodes or AnyNode()
        self._room = Room(most_tasks)
        self._board = Board(self._room)
        self._blocked = Blocked(self._nodes)
        self._alarm = Alarm(clock, self._board.next_at, self._on_time)
        self._commits = Commits(store)
        self._arrivals = Arrivals(self._commits, new_name=self._new_name, stored=self._stored)
        self._notices = Notices()
        self._functions = Functions(store, clock)
        self._attempts = Attempts(
            store,
            self._board,
            self._commits,
            self._notices,
            clock=clock,
            ids=ids,
            nodes=self._nodes,
            alarm=self._alarm,
        )

    def listen(self, listener: QueueListener) -> None:
        self._notices.add(listener)

    async def recover(self) -> None:
        tasks, items = await self._store.read(lambda tx: tx.tasks.unfinished())
        by_task = {seq: tuple(rows) for seq, rows in groupby(items, key=lambda row: row.seq)}
        now = self._clock.now()
        for row in tasks:
            self._board.restore(row, by_task.get(row.seq, ()), now, self._usd_per_s)
        self._alarm.set()
        if tasks:
            log.info("tasks recovered", tasks=len(tasks), items=len(items))

    def _usd_per_s(self, node_uid: str) -> float:
        return self._nodes.node(node_uid).usd_per_lane_second

    # --- what clients do ---------------------------------------------------------------------------------------

    async def put_function(self, digest: str, data: bytes) -> None:
        await self._functions.put(digest, data)

    async def function(self, digest: str) -> bytes | None:
        return await self._functions.get(digest)

    async def submit(self, submitted: Submission) -> Accepted:
        submission.check(submitted)
        fingerprint = await _fingerprint(submitted)
        try:
            pool = submission.check_pool(submitted, self._pools(submitted.pool))
            ranks = submission.ranks_of(submitted, pool, self._nodes)
        except TaskError:
            repeated = await self._store.read(lambda tx: tx.tasks.by_key(submitted.submitter, submitted.key))
            if repeated is None:
                raise
            submission.check_same(repeated, fingerprint)
            return _accepted(repeated)
        now = self._clock.now()
        row = submission.to_row(
            submitted,
            pool,
            ranks,
            uid=submission.uid_in_order(self._ids.uid(), now),
            name=self._new_name(submitted),
            fingerprint=fingerprint,
            now=now,
        )
        await self._room.wait(submitted.pool)
        stored = await self._arrivals.store(submitted, row)
        await self._catch_up(submitted.pool, row)
        return _accepted(stored)

    def _stored(self, submitted: Submission, row: TaskRow) -> None:
        task = self._board.add(row, submitted.items, self._clock.now())
        if row.policy.deadline_at is not None:
            self._alarm.set()
        if row.items:
            self._notices.work_available(task, range(row.items))

    async def _catch_up(self, pool: str, row: TaskRow) -> None:
        """The pool or a rank may have gone between the check and the commit: nobody else would end these items."""
        if self._pools(pool) is None:
            await self.drop_pool(pool)
        for rank in row.ranks:
            message = self._attempts.lost_message(rank.node_uid)
            if message is not None:
                await self.release(rank.node_uid, NODE_LOST, message)

    def _new_name(self, submitted: Submission) -> str:
        return f"{submission.base_name(submitted.name)}-{self._ids.suffix()}"

    async def extend(self, task: str, start: int, items: Sequence[bytes], *, last: bool) -> int:
        submission.check_sizes(items)
        at = self._clock.now()

        def work(tx: Transaction) -> tuple[int, tuple[bytes, ...] | None]:
            row = _existing(tx.tasks.by_uid(task), task)
            if start > row.items:
                raise Conflict(f"task {row.name} has {row.items} items: items {row.items} to {start - 1} are missing")
            new = tuple(items[row.items - start :])
            if not row.open and new:
                raise Conflict(f"task {row.name} takes no more items: it was closed or cancelled")
            if not row.open or not (new or last):
                return row.items, None
            tx.tasks.extend(row.seq, row.items, new, open=not last, at=at)
            return row.items + len(new), new

        def apply(extended: tuple[int, tuple[bytes, ...] | None]) -> int:
            count, new = extended
            live = self._board.task(task)
            if live is not None and new is not None:
                first = live.items
                self._board.extend(live, new, at, open=not last)
                if live.is_finished:
                    self._board.retire(live)
                if new:
                    self._notices.work_available(live, range(first, live.items))
            return count

        return await self._commits.run(work, apply)

    async def cancel(self, task: str, *, waiting_only: bool = False) -> None:
        live = self._board.task(task)
        if waiting_only and live is not None and live.held:
            return
        await self._close((task,), CANCELLED, "the task was cancelled")

    async def drop_pool(self, pool: str) -> None:
        while uids := tuple(task.row.uid for task in self._board.tasks() if task.row.pool == pool):
            await self._close(uids, CANCELLED, "its pool was deleted")

    async def _close(self, uids: Sequence[str], outcome: str, reason: str) -> None:
        """Ends everything that is unfinished, running attempts included: from this commit on none of their reports counts."""
        at = self._clock.now()
        failure = Failure(outcome, reason)

        def work(tx: Transaction) -> list[tuple[int, ...]]:
            rows = [_existing(tx.tasks.by_uid(uid), uid) for uid in uids]
            return [tx.tasks.cancel(row.seq, at, outcome, failure) if row.finished_at is None else () for row in rows]

        def apply(closed: list[tuple[int, ...]]) -> None:
            for uid, items in zip(uids, closed, strict=True):
                live = self._board.task(uid)
                if live is not None:
                    self._closed(live, items, failure)

        await self._commits.run(work, apply)

    def _closed(self, task: LiveTask, items: Sequence[int], failure: Failure) -> None:
        held = dict(task.held)
        results = [
            Result(
                task.row.uid,
                item,
                failure.type,
                attempt=task.tries.get(item, (0, 0))[0],
                node=held[item].node if item in held else "",
                failure=failure,
            )
            for item in items
        ]
        self._board.retire(task)
        self._notices.abandon(tuple(held.values()), failure.message)
        self._notices.items_finished(results)
        self._notices.closed(task)

    async def delivered(self, tasks: Sequence[str]) -> None:
        def work(tx: Transaction) -> None:
            rows = [row for uid in tasks if (row := tx.tasks.by_uid(uid)) is not None]
            tx.tasks.remove([row.seq for row in rows if row.finished_at is not None and row.policy.ttl_s == 0])

        await self._store.run(work)

    # --- what time brings --------------------------------------------------------------------------------------

    async def _on_time(self, now: float) -> None:
        woken, late = self._board.due(now)
        for task, items in woken.items():
            self._notices.work_available(task, items)
        try:
            for task in late:
                await self._close((task.row.uid,), TIMED_OUT, f"its deadline, {_utc(task)}, has passed")
        finally:
            for task in late:
                if not task.is_retired:
                    self._board.remind(task, now)
        ranked = {task.ranks[item].node_uid for task, items in woken.items() for item in items if task.ranks}
        for node in sorted(ranked):
            message = self._attempts.lost_message(node)
            if message is not None:  # lost while its item waited for another try
                await self.release(node, NODE_LOST, message)

    def look_again(self, pool: str) -> None:
        if self._blocked.look(pool, self._clock.now()) and any(self._board.counts(pool)):
            self._notices.pool_opened(pool)

    # --- what agents do ----------------------------------------------------------------------------------------

    async def lease(self, holder: Holder, capacity: int) -> tuple[Lease, ...]:
        return await self._attempts.lease(holder, capacity)

    async def started(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        await self._attempts.started(holder, attempts)

    async def report(self, holder: Holder, reports: Sequence[Report]) -> tuple[AttemptId, ...]:
        return await self._attempts.report(holder, reports)

    async def give_back(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        await self._attempts.give_back(holder, attempts)

    async def resume(self, holder: Holder, running: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        return await self._attempts.resume(holder, running)

    async def release(self, node_uid: str, outcome: str, message: str, *, gone: bool = False) -> None:
        await self._attempts.release(node_uid, outcome, message, gone=gone)

    # --- what is asked -----------------------------------------------------------------------------------------

    async def accepted(self, task: str) -> Accepted:
        return _accepted(_existing(await self._store.read(lambda tx: tx.tasks.by_uid(task)), task))

    async def results(self, task: str, skip: Sequence[int] = (), limit: int = 500) -> tuple[Result, ...]:
        known = frozenset(skip)

        def work(tx: Transaction) -> tuple[Result, ...]:
            return tx.tasks.results(_existing(tx.tasks.by_uid(task), task).seq, known, limit)

        return await self._store.read(work)

    async def tasks(self, namespace: str | None = None) -> tuple[Task, ...]:
        rows = await self._store.read(lambda tx: tx.tasks.all(namespace))
        return tuple(self._view(row) for row in rows)

    async def task(self, namespace: str, name: str) -> Task | None:
        row = await self._store.read(lambda tx: tx.tasks.by_name(namespace, name))
        return None if row is None else self._view(row)

    async def items(self, namespace: str, name: str, start: int, limit: int) -> tuple[TaskItem, ...] | None:
        def work(tx: Transaction) -> tuple[TaskItem, ...] | None:
            row = tx.tasks.by_name(namespace, name)
            return None if row is None else tx.tasks.items(row.seq, start, limit)

        return await self._store.read(work)

    def _view(self, row: TaskRow) -> Task:
        if row.finished_at is not None or (live := self._board.task(row.uid)) is None:
            return views.to_task(row, None)
        return views.to_task(row, live, self._blocked.conditions(live, self._board.vacant(live), self._clock.now()))

    def counts(self, pool: str) -> tuple[int, int]:
        return self._board.counts(pool)

    def held(self, node_uid: str) -> int:
        return self._board.count_held(node_uid)

    def holders(self) -> frozenset[str]:
        return frozenset(self._board.awaited_nodes())

    def pools(self) -> frozenset[str]:
        return frozenset(task.row.pool for task in self._board.tasks())

    async def named_blobs(self, digests: Collection[str]) -> frozenset[str]:
        return await self._store.read(lambda tx: tx.tasks.named_blobs(digests))

    async def names_blob(self, tasks: Collection[str], digest: str) -> bool:
        return await self._store.read(lambda tx: tx.tasks.names_blob(tasks, digest))

    async def collect(self, now: float) -> int:
        removed = 0
        while seqs := await self._store.read(lambda tx: tx.tasks.expired(now, KEPT_FINISHED, 500)):
            await self._store.run(partial(_remove, seqs))
            removed += len(seqs)
        await self._store.run(lambda tx: tx.tasks.drop_functions(now - FUNCTION_TTL_S))
        return removed


def _remove(seqs: Sequence[int], tx: Transaction) -> None:
    tx.tasks.remove(seqs)


def _existing(row: TaskRow | None, uid: str) -> TaskRow:
    if row is None:
        raise NotFound(f"there is no task {uid}: it never was, or its time after finishing is over")
    return row


def _utc(task: LiveTask) -> str:
    return f"{to_time(task.row.policy.deadline_at or 0.0):%Y-%m-%d %H:%M:%S} UTC"


def _accepted(row: TaskRow) -> Accepted:
    return Accepted(row.uid, row.name, row.items, row.open, row.stream, row.mode)


async def _fingerprint(submitted: Submission) -> str:
    if sum(map(len, submitted.items)) < _LARGE_BYTES:
        return submission.fingerprint(submitted)
    return await asyncio.to_thread(submission.fingerprint, submitted)
