"""The queue's history: every call of clients and agents from its beginning to its end, so that whatever is committed meanwhile can
be held against what those calls may do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from skyward.contracts import Holder, Store
from skyward.queue import DurableQueue
from skyward_agent.wire.messages import NODE_LOST, AttemptId, Lease, Report, Result
from tests.queue.model import Model


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call that is under way."""

    process: int
    verb: str
    step: Callable[[Model], None] = lambda model: None
    """What it does to the items of a model, one after another."""
    about: str = ""
    """Uid of a node or of a task, or a pool's key."""
    incarnation: str = ""


class Witness(Protocol):
    """Who judges."""

    def took_over(self) -> None:
        """Another process has the queue: what only memory knew is forgotten."""
        ...

    def began(self, call: Call) -> None:
        """What it does to memory it does at once, before anything is committed."""
        ...

    def gave(self, holder: Holder, leases: Sequence[Lease], *, was_lost: bool) -> None: ...

    def told(self, results: Sequence[Result]) -> None:
        """Clients that follow these tasks hear of them."""
        ...

    def ended(self, task: str) -> frozenset[int]:
        """Its items that have ended."""
        ...

    def read(self, task: str, due: frozenset[int], found: Sequence[Result]) -> None:
        """Somebody asked for its results, when those items had ended that are due."""
        ...


class History:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.lost: set[str] = set()
        """Nodes that were released as lost and did not come back, as the process that has the queue knows."""
        self.process = 0
        self.witness: Witness | None = None

    def take_over(self, process: int) -> None:
        self.process = process
        self.calls.clear()
        self.lost.clear()
        if self.witness is not None:
            self.witness.took_over()

    @contextmanager
    def call(self, call: Call) -> Iterator[None]:
        """A call that is cancelled may still commit: it stays under way."""
        if call.process == self.process:
            self.calls.append(call)
            if self.witness is not None:
                self.witness.began(call)
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._over(call)
            raise
        self._over(call)

    def _over(self, call: Call) -> None:
        if call in self.calls:
            self.calls.remove(call)


class WatchedQueue(DurableQueue):
    """The production queue. What it does is its own; what it is asked is told."""

    def __init__(self, store: Store, *, history: History, process: int, **parts: Any) -> None:
        super().__init__(store, **parts)
        self._history = history
        self._process = process

    def _call(self, verb: str, step: Callable[[Model], None], about: str, incarnation: str = "") -> Any:
        return self._history.call(Call(self._process, verb, step, about, incarnation))

    @property
    def _witness(self) -> Witness | None:
        return self._history.witness if self._history.process == self._process else None

    async def recover(self) -> None:
        self._history.take_over(self._process)
        await super().recover()
        self.listen(_Ear(self))

    async def lease(self, holder: Holder, capacity: int) -> tuple[Lease, ...]:
        was_lost = holder.node_uid in self._history.lost
        with self._call("lease", lambda model: None, holder.node_uid, holder.incarnation):
            leases = await super().lease(holder, capacity)
        if self._witness is not None:
            self._witness.gave(holder, leases, was_lost=was_lost)
        return leases

    async def started(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        def step(model: Model) -> None:
            for attempt in attempts:
                model.start(attempt, holder.node_uid)

        with self._call("started", step, holder.node_uid):
            await super().started(holder, attempts)

    async def report(self, holder: Holder, reports: Sequence[Report]) -> tuple[AttemptId, ...]:
        def step(model: Model) -> None:
            for report in reports:
                model.report(report.id, holder.node_uid, report.outcome, report.failure)

        with self._call("report", step, holder.node_uid):
            return await super().report(holder, reports)

    async def give_back(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        def step(model: Model) -> None:
            for attempt in attempts:
                model.give_back(attempt, holder.node_uid)

        with self._call("give back", step, holder.node_uid):
            await super().give_back(holder, attempts)

    async def resume(self, holder: Holder, running: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        kept = set(running)
        self._forget_loss(holder.node_uid)
        with self._call(
            "resume", lambda model: model.resume(holder.node_uid, holder.incarnation, kept), holder.node_uid
        ):
            return await super().resume(holder, running)

    async def release(self, node_uid: str, outcome: str, message: str, *, gone: bool = False) -> None:
        if outcome == NODE_LOST and self._witness is not None:
            self._history.lost.add(node_uid)
        with self._call(f"release {outcome}", lambda model: model.release(node_uid, outcome, gone=gone), node_uid):
            await super().release(node_uid, outcome, message, gone=gone)

    async def cancel(self, task: str, *, waiting_only: bool = False) -> None:
        with self._call("cancel", lambda model: model.cancel(task), task):
            await super().cancel(task, waiting_only=waiting_only)

    async def drop_pool(self, pool: str) -> None:
        with self._call("drop pool", lambda model: None, pool):
            await super().drop_pool(pool)

    async def results(self, task: str, skip: Sequence[int] = (), limit: int = 500) -> tuple[Result, ...]:
        witness = self._witness
        due = witness.ended(task) - frozenset(skip) if witness is not None else frozenset()
        found = await super().results(task, skip, limit)
        if witness is not None and witness is self._witness:
            witness.read(task, due if len(found) < limit else frozenset(), found)
        return found

    def _forget_loss(self, node_uid: str) -> None:
        if self._witness is not None:
            self._history.lost.discard(node_uid)

    def heard(self, results: Sequence[Result]) -> None:
        if self._witness is not None:
            self._witness.told(results)


class _Ear:
    """A follower of every task."""

    def __init__(self, queue: WatchedQueue) -> None:
        self._queue = queue

    def work_available(self, pool: str, node_uid: str | None) -> None: ...

    def items_finished(self, results: Sequence[Result]) -> None:
        self._queue.heard(results)

    def abandon(self, node_uid: str, attempts: Sequence[AttemptId], reason: str) -> None: ...

    def task_closed(self, task: str, items: int) -> None: ...
