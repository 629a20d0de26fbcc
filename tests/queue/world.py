"""A queue in a small world: pools that the test decides, agents that do what the test says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from skyward.contracts import Holder, PoolFacts, Rank, Store, Submission
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
    key: str = POOL, nodes: int = 3, *, python: str = "3.11", deleting: bool = False, ready: int = 3
) -> PoolFacts:
    return PoolFacts(key, f"uid of {key}", nodes, python, deleting, tuple(rank(number) for number in range(ready)))


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

    def work_available(self, pool: str, node_uid: str | None) -> None:
        self.work.append((pool, node_uid))

    def items_finished(self, results: Sequence[Result]) -> None:
        self.results.extend(results)

    def abandon(self, node_uid: str, attempts: Sequence[AttemptId], reason: str) -> None:
        self.abandoned.extend(attempts)


@dataclass
class QueueWorld:
    store: Store
    clock: StillClock = field(default_factory=StillClock)
    ids: CountingIds = field(default_factory=lambda: CountingIds(1000))
    pools: dict[str, PoolFacts] = field(default_factory=lambda: {POOL: facts()})
    ear: Ear = field(default_factory=Ear)

    async def queue(self) -> DurableQueue:
        """A queue of an operator that just started on this store."""
        queue = DurableQueue(self.store, clock=self.clock, ids=self.ids, pools=self.pools.get)
        await queue.recover()
        queue.listen(self.ear)
        await queue.put_function(DIGEST, FUNCTION)
        return queue


def done(attempt: AttemptId, value: bytes = b"value") -> Report:
    return Report(attempt, "Succeeded", value)


def ended(attempt: AttemptId, outcome: str) -> Report:
    return Report(attempt, outcome)
