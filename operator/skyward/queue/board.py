"""What is unfinished, in memory: who waits, who holds what. Rebuilt from the rows; changed only in step with commits.

A task's items share its priority and age, so the pool's order is kept by task. Items that were never tried are one
range; only those that came back are kept one by one. Memory does not grow with the length of a map.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from skyward.contracts import Holder, ItemRow, TaskRow
from skyward.queue.live import Held, Line, LiveTask
from skyward_agent.wire.messages import AttemptId, Peer

_ARGUMENT_BYTES = 64 * 1024 * 1024
"""Arguments of fresh items kept in memory, in all; the others are read when they are leased."""


class Board:
    def __init__(self) -> None:
        self._tasks: dict[str, LiveTask] = {}
        self._lines: dict[str, Line] = {}
        self._pinned: dict[str, set[tuple[int, int, int, LiveTask]]] = {}
        self._nodes: dict[str, set[Held]] = {}
        self._argument_bytes = 0

    # --- tasks -------------------------------------------------------------------------------------------------

    def task(self, uid: str) -> LiveTask | None:
        return self._tasks.get(uid)

    def tasks(self) -> Iterable[LiveTask]:
        return self._tasks.values()

    def add(self, row: TaskRow, arguments: tuple[bytes, ...] = ()) -> LiveTask:
        """A committed task, all of its items waiting."""
        task = self._enter(row)
        if row.ranks:
            self._pin(task, range(row.items))
        else:
            self._remember(task, 0, arguments)
        self._recount(task, queued=row.items)
        self._line(task).enter(task)
        return task

    def restore(self, row: TaskRow, items: Iterable[ItemRow]) -> None:
        """A task as the rows have it, at start-up."""
        task = self._enter(row)
        task.fresh = row.items
        waits = []
        for item in items:
            if item.attempt:
                task.tries[item.item] = (item.attempt, item.counted)
            if item.leased:
                held = Held(task, item.item, item.attempt, item.secret, item.node_uid, item.node, item.started)
                self._hold(held)
            else:
                waits.append(item.item)
        while waits and waits[-1] == task.fresh - 1 and waits[-1] not in task.tries and not row.ranks:
            task.fresh = waits.pop()
        self._recount(task, queued=len(waits) + row.items - task.fresh, running=len(task.held))
        if row.ranks:
            self._pin(task, waits)
        else:
            task.again = waits
        self._line(task).enter(task)

    def extend(self, task: LiveTask, arguments: tuple[bytes, ...], *, open: bool) -> None:
        self._remember(task, task.items, arguments)
        task.items += len(arguments)
        task.open = open
        self._recount(task, queued=len(arguments))
        self._line(task).enter(task)

    def retire(self, task: LiveTask) -> None:
        """The task is finished: forget it, and whatever it still held or had waiting."""
        self._tasks.pop(task.row.uid, None)
        held = tuple(task.held.values())
        self._recount(task, queued=-task.queued, running=-len(held))
        for one in held:
            self._drop(one)
        for item in tuple(task.arguments):
            self._forget(task, item)
        for item in tuple(task.waiting):
            self._unpin(task, item)
        task.fresh = task.items
        task.again.clear()

    # --- items -------------------------------------------------------------------------------------------------

    def take(self, holder: Holder, capacity: int) -> list[tuple[LiveTask, int]]:
        """Items that this node may run now, no longer waiting; each must be given to `hold`."""
        taken = []
        for task, item in tuple(self.pinned_to(holder.node_uid))[:capacity]:
            self._unpin(task, item)
            taken.append((task, item))
        line = self._lines.get(holder.pool)
        while line is not None and len(taken) < capacity and (first := line.first()) is not None:
            taken.append((first, first.take()))
        return taken

    def hold(self, task: LiveTask, item: int, secret: str, holder: Holder) -> Held:
        """The next attempt of a taken item. Its number is used up only by `settle`."""
        attempt, _ = task.tries.get(item, (0, 0))
        held = Held(task, item, attempt + 1, secret, holder.node_uid, holder.node)
        self._hold(held)
        self._recount(task, queued=-1, running=1)
        return held

    def settle(self, held: Held) -> None:
        """The lease is committed."""
        _, counted = held.task.tries.get(held.item, (0, 0))
        held.task.tries[held.item] = (held.attempt, counted)
        self._forget(held.task, held.item)

    def put_back(self, held: Held) -> None:
        """The lease was not committed: the item waits as before."""
        if self.is_held(held):
            self._drop(held)
            self._recount(held.task, queued=1, running=-1)
            self._wait(held.task, held.item)

    def is_held(self, held: Held) -> bool:
        return held.task.held.get(held.item) is held

    def find(self, attempt: AttemptId, node_uid: str) -> Held | None:
        """The attempt if it is this node's and not superseded. The secret is for the database to check."""
        task = self._tasks.get(attempt.task)
        held = task.held.get(attempt.item) if task is not None else None
        if held is None or held.attempt != attempt.attempt or held.node_uid != node_uid:
            return None
        return held

    def held_by(self, node_uid: str) -> tuple[Held, ...]:
        held = self._nodes.get(node_uid, ())
        return tuple(sorted(held, key=lambda one: (one.task.row.seq, one.item)))

    def count_held(self, node_uid: str) -> int:
        return len(self._nodes.get(node_uid, ()))

    def pinned_to(self, node_uid: str) -> Iterator[tuple[LiveTask, int]]:
        """Broadcast items that wait for this node, by priority and age."""
        for _, _, item, task in sorted(self._pinned.get(node_uid, ())):
            yield task, item

    def awaited_nodes(self) -> set[str]:
        """Nodes that hold attempts, or that broadcast items wait for."""
        return {*self._pinned, *self._nodes}

    def requeue(self, held: Held, counted: int) -> None:
        self._drop(held)
        held.task.tries[held.item] = (held.attempt, counted)
        self._recount(held.task, queued=1, running=-1)
        self._wait(held.task, held.item)

    def finish(self, task: LiveTask, item: int, *, succeeded: bool) -> None:
        """The item ended for good, held or waiting."""
        held = task.held.get(item)
        if held is not None:
            self._drop(held)
        if item in task.waiting:
            self._unpin(task, item)
        task.tries.pop(item, None)
        self._recount(task, queued=-1 if held is None else 0, running=0 if held is None else -1)
        if succeeded:
            task.succeeded += 1
        else:
            task.failed += 1

    def counts(self, pool: str) -> tuple[int, int]:
        line = self._lines.get(pool)
        return (line.queued, line.running) if line is not None else (0, 0)

    # --- inside ------------------------------------------------------------------------------------------------

    def _enter(self, row: TaskRow) -> LiveTask:
        task = LiveTask(
            row,
            row.items,
            row.open,
            succeeded=row.succeeded,
            failed=row.failed,
            started_at=row.started_at,
            world=tuple(Peer(rank.node, rank.address) for rank in row.ranks),
        )
        task.failures.extend(row.failures)
        if row.ranks:
            task.fresh = row.items
        self._tasks[row.uid] = task
        return task

    def _line(self, task: LiveTask) -> Line:
        return self._lines.setdefault(task.row.pool, Line())

    def _recount(self, task: LiveTask, *, queued: int = 0, running: int = 0) -> None:
        line = self._line(task)
        line.queued += queued
        line.running += running
        if not (line.queued or line.running or line.heap):
            del self._lines[task.row.pool]

    def _wait(self, task: LiveTask, item: int) -> None:
        if task.row.ranks:
            self._pin(task, (item,))
        else:
            heapq.heappush(task.again, item)
            self._line(task).enter(task)

    def _pin(self, task: LiveTask, items: Iterable[int]) -> None:
        for item in items:
            task.waiting.add(item)
            entries = self._pinned.setdefault(task.row.ranks[item].node_uid, set())
            entries.add((-task.row.priority, task.row.seq, item, task))

    def _unpin(self, task: LiveTask, item: int) -> None:
        task.waiting.discard(item)
        node = task.row.ranks[item].node_uid
        entries = self._pinned[node]
        entries.discard((-task.row.priority, task.row.seq, item, task))
        if not entries:
            del self._pinned[node]

    def _hold(self, held: Held) -> None:
        held.task.held[held.item] = held
        self._nodes.setdefault(held.node_uid, set()).add(held)

    def _drop(self, held: Held) -> None:
        held.task.held.pop(held.item, None)
        of_node = self._nodes.get(held.node_uid)
        if of_node is not None:
            of_node.discard(held)
            if not of_node:
                del self._nodes[held.node_uid]

    def _remember(self, task: LiveTask, start: int, arguments: tuple[bytes, ...]) -> None:
        size = sum(map(len, arguments))
        if self._argument_bytes + size <= _ARGUMENT_BYTES:
            self._argument_bytes += size
            task.arguments.update(enumerate(arguments, start))

    def _forget(self, task: LiveTask, item: int) -> None:
        data = task.arguments.pop(item, None)
        if data is not None:
            self._argument_bytes -= len(data)
