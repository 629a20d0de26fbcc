"""What is unfinished, in memory: who waits, who holds what. Rebuilt from the rows; changed only in step with commits.

A task's items share its priority and age, so the pool's order is kept by task. Items that were never tried are one
range; only those that came back are kept one by one. Memory does not grow with the length of a map.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from skyward.contracts import Holder, ItemRow, NodeFacts, TaskRow
from skyward.queue.agenda import WHOLE, Agenda
from skyward.queue.live import Held, LiveTask
from skyward.queue.ranks import Ranks
from skyward.queue.room import Room
from skyward.queue.turns import PoolLine
from skyward_agent.wire.messages import AttemptId, Peer

_ARGUMENT_BYTES = 64 * 1024 * 1024
"""Arguments of fresh items kept in memory, in all; the others are read when they are leased."""


class Board:
    def __init__(self, room: Room) -> None:
        self._room = room
        self._tasks: dict[str, LiveTask] = {}
        self._lines: dict[str, PoolLine] = {}
        self._ranks = Ranks()
        self._agenda = Agenda()
        self._nodes: dict[str, set[Held]] = {}
        self._argument_bytes = 0

    # --- tasks -------------------------------------------------------------------------------------------------

    def task(self, uid: str) -> LiveTask | None:
        return self._tasks.get(uid)

    def tasks(self) -> Iterable[LiveTask]:
        return self._tasks.values()

    def add(self, row: TaskRow, arguments: tuple[bytes, ...], now: float) -> LiveTask:
        """A committed task, all of its items waiting."""
        task = self._enter(row)
        if row.ranks:
            self._ranks.pin(task, range(row.items))
        else:
            self._remember(task, 0, arguments)
        self._recount(task, queued=row.items)
        self._line(task).enter(task, now)
        return task

    def restore(self, row: TaskRow, items: Iterable[ItemRow], now: float, usd_per_s: Callable[[str], float]) -> None:
        """A task as the rows have it, at start-up. `usd_per_s`: what a lane of this node costs."""
        task = self._enter(row)
        task.fresh = row.items
        waits = []
        for item in items:
            if item.attempt:
                task.tries[item.item] = (item.attempt, item.counted)
            if item.leased:
                held = Held(task, item.item, item.attempt, item.secret, item.node_uid, item.node, item.started)
                held.since, held.usd_per_s = item.leased_at, usd_per_s(item.node_uid)
                self._hold(held)
            elif item.ready_at is not None and item.ready_at > now:
                self._delay(task, item.item, item.ready_at)
            else:
                waits.append(item.item)
        while waits and waits[-1] == task.fresh - 1 and waits[-1] not in task.tries and not row.ranks:
            task.fresh = waits.pop()
        queued = len(waits) + len(task.delayed) + row.items - task.fresh
        self._recount(task, queued=queued, running=len(task.held))
        if row.ranks:
            self._ranks.pin(task, waits)
        else:
            task.again = waits
        self._line(task).enter(task, now)

    def extend(self, task: LiveTask, arguments: tuple[bytes, ...], now: float, *, open: bool) -> None:
        self._remember(task, task.items, arguments)
        task.items += len(arguments)
        task.open = open
        self._recount(task, queued=len(arguments))
        self._line(task).enter(task, now)

    def retire(self, task: LiveTask) -> None:
        """The task is finished: forget it, and whatever it still held or had waiting."""
        if self._tasks.pop(task.row.uid, None) is not None:
            self._room.leave(task.row.pool)
        task.is_retired = True
        held = tuple(task.held.values())
        self._recount(task, queued=-task.queued, running=-len(held))
        for one in held:
            self._drop(one)
        for item in tuple(task.arguments):
            self._forget(task, item)
        self._ranks.unpin(task, tuple(task.waiting))
        task.delayed.clear()
        task.fresh = task.items
        task.again.clear()

    # --- items -------------------------------------------------------------------------------------------------

    def take(self, holder: Holder, capacity: int, node: NodeFacts, now: float) -> list[tuple[LiveTask, int]]:
        """Items that this node may run now, no longer waiting; each must be given to `hold`."""
        taken = self._ranks.take(holder, capacity, node)
        line = self._lines.get(holder.pool)
        if line is not None and len(taken) < capacity:
            taken += line.take(capacity - len(taken), node.labels, now)
        return taken

    def hold(self, task: LiveTask, item: int, secret: str, holder: Holder, node: NodeFacts) -> Held:
        """The next attempt of a taken item. Its number is used up only by `settle`."""
        attempt, _ = task.tries.get(item, (0, 0))
        held = Held(task, item, attempt + 1, secret, holder.node_uid, holder.node, task.is_at_most_once)
        held.incarnation = holder.incarnation
        held.usd_per_s = node.usd_per_lane_second
        self._hold(held)
        self._recount(task, queued=-1, running=1)
        return held

    def settle(self, held: Held, at: float) -> None:
        """The lease is committed."""
        held.since = at
        _, counted = held.task.tries.get(held.item, (0, 0))
        held.task.tries[held.item] = (held.attempt, counted)
        self._forget(held.task, held.item)

    def put_back(self, held: Held, now: float) -> None:
        """The lease was not committed: the item waits as before."""
        if self.is_held(held):
            self._drop(held)
            self._recount(held.task, queued=1, running=-1)
            self._wait(held.task, held.item, now)

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
        return self._ranks.of_node(node_uid)

    def vacate(self, task: LiveTask, item: int) -> None:
        """This broadcast item's node is lost: it waits for any node of the pool that has no rank in its task."""
        self._ranks.vacate(task, item)

    def vacant(self, task: LiveTask) -> tuple[int, ...]:
        """Its ranks that wait for another node."""
        return self._ranks.vacant(task)

    def awaited_nodes(self) -> set[str]:
        """Nodes that hold attempts, or that broadcast items wait for."""
        return {*self._ranks.nodes(), *self._nodes}

    def requeue(self, held: Held, counted: int, ready_at: float | None, now: float) -> None:
        """It waits again: until `ready_at` as far as leases are concerned."""
        self._drop(held)
        held.task.tries[held.item] = (held.attempt, counted)
        self._recount(held.task, queued=1, running=-1)
        if ready_at is not None and ready_at > now:
            self._delay(held.task, held.item, ready_at)
        else:
            self._wait(held.task, held.item, now)

    def finish(self, task: LiveTask, item: int, *, succeeded: bool) -> None:
        """The item ended for good, held or waiting."""
        held = task.held.get(item)
        if held is not None:
            self._drop(held)
        if item in task.waiting:
            self._ranks.unpin(task, (item,))
        task.delayed.pop(item, None)
        task.tries.pop(item, None)
        self._recount(task, queued=-1 if held is None else 0, running=0 if held is None else -1)
        if succeeded:
            task.succeeded += 1
        else:
            task.failed += 1

    def counts(self, pool: str) -> tuple[int, int]:
        line = self._lines.get(pool)
        return (line.queued, line.running) if line is not None else (0, 0)

    # --- what is to happen at a time ---------------------------------------------------------------------------

    def next_at(self) -> float | None:
        return self._agenda.next_at()

    def due(self, now: float) -> tuple[dict[LiveTask, list[int]], list[LiveTask]]:
        """Items whose pause is over, which can be given out from now on, and tasks whose deadline has passed."""
        woken: dict[LiveTask, list[int]] = {}
        late = []
        for task, item in self._agenda.due(now):
            if item == WHOLE:
                late.append(task)
                continue
            del task.delayed[item]
            self._wait(task, item, now)
            woken.setdefault(task, []).append(item)
        return woken, late

    def remind(self, task: LiveTask, at: float) -> None:
        """Its deadline is due (again) at that time."""
        self._agenda.add(at, task)

    # --- inside ------------------------------------------------------------------------------------------------

    def _enter(self, row: TaskRow) -> LiveTask:
        task = LiveTask(
            row,
            row.items,
            row.open,
            succeeded=row.succeeded,
            failed=row.failed,
            started_at=row.started_at,
            ranks=row.ranks,
            failures=row.failures,
            seconds=row.seconds,
            cost_usd=row.cost_usd,
            world=tuple(Peer(rank.node, rank.address) for rank in row.ranks),
        )
        if row.ranks:
            task.fresh = row.items
        if row.policy.deadline_at is not None:
            self._agenda.add(row.policy.deadline_at, task)
        self._tasks[row.uid] = task
        self._room.enter(row.pool)
        return task

    def _line(self, task: LiveTask) -> PoolLine:
        line = self._lines.get(task.row.pool)
        if line is None:
            line = self._lines[task.row.pool] = PoolLine()
        return line

    def _recount(self, task: LiveTask, *, queued: int = 0, running: int = 0) -> None:
        line = self._line(task)
        line.queued += queued
        line.running += running
        if line.is_empty:
            del self._lines[task.row.pool]

    def _wait(self, task: LiveTask, item: int, now: float) -> None:
        if task.ranks:
            self._ranks.pin(task, (item,))
        else:
            heapq.heappush(task.again, item)
            self._line(task).enter(task, now)

    def _delay(self, task: LiveTask, item: int, ready_at: float) -> None:
        task.delayed[item] = ready_at
        self._agenda.add(ready_at, task, item)

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
