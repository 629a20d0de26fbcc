"""What agents do with attempts: lease, start, report, give back, come back, get lost.

Every end of an attempt is a compare-and-set on (item, attempt, secret, still leased) in the database, so of a report,
a rescue and a cancellation exactly one wins, whatever memory thought.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from skyward.contracts import Clock, EndRow, Holder, Ids, LeaseRow, NodeDirectory, Store, TaskRow, Transaction
from skyward.queue import outcomes
from skyward.queue.alarm import Alarm
from skyward.queue.board import Board
from skyward.queue.commits import QUICK_ROWS, Commits
from skyward.queue.live import Held, LiveTask
from skyward.queue.notices import Notices
from skyward_agent.wire.messages import (
    FAIL,
    NODE_LOST,
    REPLACE_RANK,
    SUCCEEDED,
    AttemptId,
    Lease,
    Report,
    Result,
)

log = structlog.get_logger()

_LOST_NODES = 10_000
_LEAST_S = 0.001
_ROUNDS = 20
"""An item that another write queues again while its node is released is met in the next round."""


class Attempts:
    """See `contracts.TaskQueue` for what each verb promises."""

    def __init__(
        self,
        store: Store,
        board: Board,
        commits: Commits,
        notices: Notices,
        *,
        clock: Clock,
        ids: Ids,
        nodes: NodeDirectory,
        alarm: Alarm,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._alarm = alarm
        self._board = board
        self._commits = commits
        self._notices = notices
        self._clock = clock
        self._ids = ids
        self._lost: dict[str, str] = {}

    def lost_message(self, node_uid: str) -> str | None:
        """Why this node was released as lost, if it was and did not come back."""
        return self._lost.get(node_uid)

    async def lease(self, holder: Holder, capacity: int) -> tuple[Lease, ...]:
        if holder.node_uid in self._lost:
            return ()  # a connection that outlived its node; an agent that came back would have called resume
        if self._nodes.is_held(holder.pool):
            return ()
        at = self._clock.now()
        node = self._nodes.node(holder.node_uid)
        taken = self._board.take(holder, capacity, node, at)
        if not taken:
            return ()
        held = [self._board.hold(task, item, self._ids.token(), holder, node) for task, item in taken]
        rows = [LeaseRow(h.task.row.seq, h.item, h.attempt, h.secret, h.node_uid, h.node, h.started) for h in held]
        absent = [h for h in held if h.item not in h.task.arguments]
        moved = {h.task for h in held if h.task.ranks is not h.task.row.ranks}

        def work(tx: Transaction) -> tuple[tuple[bool, ...], tuple[bytes, ...]]:
            wanted = [(h.task.row.seq, 0 if h.task.ranks else h.item) for h in absent]
            for task in moved:
                tx.tasks.set_ranks(task.row.seq, task.ranks)
            return tx.tasks.lease(rows, at), tx.tasks.arguments(wanted)

        def apply(leased: tuple[tuple[bool, ...], tuple[bytes, ...]]) -> tuple[Lease, ...]:
            is_leased, read = leased
            arguments = dict(zip(absent, read, strict=True))
            return tuple(self._leased(one, arguments, at) for one, ours in zip(held, is_leased, strict=True) if ours)

        def undo() -> None:
            for one in held:
                self._board.put_back(one, at)

        # What must not run twice must not be forgotten to run, whatever fails.
        power_safe = any(h.task.is_at_most_once for h in held)
        return await self._commits.run(work, apply, undo, power_safe=power_safe, rows=len(rows))

    def _leased(self, held: Held, arguments: dict[Held, bytes], at: float) -> Lease:
        task, row = held.task, held.task.row
        if task.started_at is None:
            task.started_at = at
        data = arguments[held] if held in arguments else task.arguments[held.item]
        self._board.settle(held, at)
        _, counted = task.tries[held.item]
        return Lease(
            held.id,
            row.function,
            data,
            _time_left(row, at),
            row.env,
            rank=held.item if task.ranks else -1,
            world=task.world,
            stream=row.stream,
            # Attempts that share a process may all count when its node is lost: not so those with a loss behind them, and
            # not those that have no second try.
            alone=counted > 0 or row.max_attempts == 1,
        )

    async def started(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        at = self._clock.now()
        held = [one for attempt in attempts if (one := self._board.find(attempt, holder.node_uid)) is not None]
        for one in held:
            one.started, one.since = True, at
        rows = [(one.task.row.seq, one.item, one.attempt, one.secret) for one in held]
        if rows:
            await self._store.run(lambda tx: tx.tasks.start(rows), quick=len(rows) <= QUICK_ROWS)

    async def report(self, holder: Holder, reports: Sequence[Report]) -> tuple[AttemptId, ...]:
        at = self._clock.now()
        ends: dict[Held, EndRow] = {}
        for report in reports:
            held = self._board.find(report.id, holder.node_uid)
            if held is not None and held.secret == report.id.secret:
                ends.setdefault(held, outcomes.reported(held, report, at, self._ids.fraction))
        await self._end([(held.task, held, row) for held, row in ends.items()])
        return tuple(report.id for report in reports)

    async def give_back(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        at = self._clock.now()
        found = [(attempt, self._board.find(attempt, holder.node_uid)) for attempt in dict.fromkeys(attempts)]
        held = [one for attempt, one in found if one is not None and one.secret == attempt.secret]
        await self._end([(one.task, one, outcomes.returned(one, at)) for one in held])

    async def resume(self, holder: Holder, running: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        self._lost.pop(holder.node_uid, None)
        at = self._clock.now()
        kept = set(running)
        message = f"the agent on {holder.node} no longer has it: it was restarted"
        gone = [held for held in self._board.held_by(holder.node_uid) if held.id not in kept]
        await self._end([(held.task, held, outcomes.missing(held, holder.incarnation, message, at)) for held in gone])
        ours = {held.id for held in self._board.held_by(holder.node_uid)}
        return tuple(attempt for attempt in running if attempt not in ours)

    async def release(self, node_uid: str, outcome: str, message: str, *, gone: bool = False) -> None:
        if outcome != NODE_LOST:
            await self._end(self._lost_ends(node_uid, outcome, message, gone=gone))
            return
        if len(self._lost) >= _LOST_NODES:
            self._lost.clear()
        self._lost[node_uid] = message
        for _ in range(_ROUNDS):
            self._vacate(node_uid)
            ends = self._lost_ends(node_uid, outcome, message, gone=gone)
            if not ends or node_uid not in self._lost:
                return  # all ended, or an agent of this node came back meanwhile: what it takes now is its own
            await self._end(ends)
        log.error("attempts of a lost node do not end", node=node_uid, attempts=len(ends))

    def _vacate(self, node_uid: str) -> None:
        """Items that wait for this node and may be another one's."""
        for task, item in tuple(self._board.pinned_to(node_uid)):
            if task.row.policy.on_node_loss == REPLACE_RANK:
                self._board.vacate(task, item)
                self._notices.work_available(task, (item,))

    def _lost_ends(
        self, node_uid: str, outcome: str, message: str, *, gone: bool
    ) -> list[tuple[LiveTask, Held | None, EndRow]]:
        at = self._clock.now()
        ends: list[tuple[LiveTask, Held | None, EndRow]] = [
            (held.task, held, outcomes.lost(held, outcome, message, at, gone=gone))
            for held in self._board.held_by(node_uid)
        ]
        if outcome == NODE_LOST:
            for task, item in self._board.pinned_to(node_uid):
                if gone or task.row.policy.on_node_loss == FAIL:
                    ends.append((task, None, outcomes.unreachable(task, item, outcome, message, at)))
        return ends

    async def _end(self, ends: Sequence[tuple[LiveTask, Held | None, EndRow]]) -> None:
        """End attempts, those that are still what memory thinks they are; the others were ended by somebody else."""
        if not ends:
            return
        rows = [row for _, _, row in ends]

        def apply(ended: tuple[bool, ...]) -> None:
            results: list[Result] = []
            again: dict[LiveTask, list[int]] = {}
            for (task, held, row), was_open in zip(ends, ended, strict=True):
                if not was_open:
                    continue
                task.note(row)
                if row.outcome:
                    results.append(self._ended(task, row))
                elif held is not None:
                    self._board.requeue(held, row.counted, row.ready_at, row.at)
                    again.setdefault(task, []).append(row.item)
            for task, items in again.items():
                self._notices.work_available(task, items)
            self._notices.items_finished(results)
            if any(row.ready_at is not None for row in rows):
                self._alarm.set()

        await self._commits.run(lambda tx: tx.tasks.end(rows), apply, rows=len(rows))

    def _ended(self, task: LiveTask, row: EndRow) -> Result:
        self._board.finish(task, row.item, succeeded=row.outcome == SUCCEEDED)
        if task.is_finished:
            self._board.retire(task)
        return Result(task.row.uid, row.item, row.outcome, row.attempt, row.node, row.value, row.failure)


def _time_left(row: TaskRow, at: float) -> float | None:
    """An agent that cannot be reached ends what is past its deadline by itself."""
    deadline_at = row.policy.deadline_at
    if deadline_at is None:
        return row.timeout_s
    left_s = max(deadline_at - at, _LEAST_S)
    return left_s if row.timeout_s is None else min(left_s, row.timeout_s)
