"""A queue in a small world: pools that the test decides, agents that do what the test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from skyward.contracts import Clock, Holder, NodeFacts, PoolFacts, Rank, Store, Submission
from skyward.queue import DurableQueue
from skyward_agent.wire.messages import AttemptId, Report, Result
from tests.store.world import CountingIds, StillClock

FUNCTION = b"a function, as bytes that nobody looks into"
DIGEST = hashlib.sha256(FUNCTION).hexdigest()
POOL = "default/hello"


def rank(number: int) -> Rank:
    return Rank(f"uid-{number}", f"hello-{number}", f"127.0.0.{number + 1}")


def holder(number: int, incarnation: str = "first", pool: str = POOL) -> Holder:
    return Holder(f"uid-{number}", f"hello-{number}", pool, incarnation)


def facts(
    key: str = POOL, nodes: int = 3, *, python: str = "3.11", deleting: bool = False, ready: int = 3, **more: Any
) -> PoolFacts:
    ranks = tuple(rank(number) for number in range(ready))
    return PoolFacts(key, f"uid of {key}", nodes, python, deleting, ranks, **more)


def submission(key: str, *items: bytes, mode: str = "run", **changes: object) -> Submission:
    values: dict[str, object] = {
        "key": key,
        "submitter": "alice",
        "pool": POOL,
        "mode": mode,
        "function": DIGEST,
        "name": "main.train",
        "items": items or (b"arguments",),
        "python": "3.11",
    }
    return Submission(**{**values, **changes})  # type: ignore[arg-type]


@dataclass
class Ear:
    """A listener that remembers."""

    work: list[tuple[str, str | None]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    abandoned: list[AttemptId] = field(default_factory=list)
    closed: list[tuple[str, int]] = field(default_factory=list)

    def work_available(self, pool: str, node_uid: str | None) -> None:
        self.work.append((pool, node_uid))

    def items_finished(self, results: Sequence[Result]) -> None:
        self.results.extend(results)

    def abandon(self, node_uid: str, attempts: Sequence[AttemptId], reason: str) -> None:
        self.abandoned.extend(attempts)

    def task_closed(self, task: str, items: int) -> None:
        self.closed.append((task, items))


class HandClock:
    """Time that the test sets; who sleeps wakes when it has come."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self.time + seconds, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Let this much time go by, and whoever it wakes do what it has to."""
        await settle()
        end = self.time + seconds
        while due := [at for at, event in self._sleepers if at <= end and not event.is_set()]:
            self.time = max(self.time, min(due))
            for at, event in self._sleepers:
                if at <= self.time:
                    event.set()
            await settle()
        self.time = end
        self._sleepers = [(at, event) for at, event in self._sleepers if not event.is_set()]


async def settle() -> None:
    """Until nothing more happens by itself: commits of a store in memory take a few turns of the loop."""
    for _ in range(50):
        await asyncio.sleep(0)


@dataclass
class Nodes:
    """A node directory that the test decides."""

    held: set[str] = field(default_factory=set)
    facts: dict[str, NodeFacts] = field(default_factory=dict)

    def is_held(self, pool: str) -> bool:
        return pool in self.held

    def node(self, node_uid: str) -> NodeFacts:
        return self.facts.get(node_uid, NodeFacts())

    def nodes(self, pool: str) -> Sequence[NodeFacts]:
        return tuple(self.facts.values())


@dataclass
class QueueWorld:
    store: Store
    clock: Clock = field(default_factory=StillClock)
    ids: CountingIds = field(default_factory=lambda: CountingIds(1000))
    pools: dict[str, PoolFacts] = field(default_factory=lambda: {POOL: facts()})
    ear: Ear = field(default_factory=Ear)
    nodes: Nodes = field(default_factory=Nodes)

    async def queue(self) -> DurableQueue:
        """A queue of an operator that just started on this store."""
        queue = DurableQueue(self.store, clock=self.clock, ids=self.ids, pools=self.pools.get, nodes=self.nodes)
        await queue.recover()
        queue.listen(self.ear)
        await queue.put_function(DIGEST, FUNCTION)
        return queue


def done(attempt: AttemptId, value: bytes = b"value") -> Report:
    return Report(attempt, "Succeeded", value)


def ended(attempt: AttemptId, outcome: str) -> Report:
    return Report(attempt, outcome)
