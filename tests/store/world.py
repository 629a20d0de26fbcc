"""A small deterministic world for the tests of store and queue: time that stands still, ids that count."""

from __future__ import annotations

import itertools

from skyward.api import Event, Node, NodeSpec, ObjectMeta, ObjectReference, Pool, PoolSpec, Reason, to_time


class StillClock:
    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class CountingIds:
    def __init__(self, start: int = 1) -> None:
        self._numbers = itertools.count(start)

    def uid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._numbers):012}"

    def suffix(self) -> str:
        return f"{next(self._numbers):05x}"[-5:]

    def token(self) -> str:
        return f"token-{next(self._numbers):037}"

    def fraction(self) -> float:
        return 0.5


def pool(name: str = "hello", nodes: int = 2) -> Pool:
    spec = PoolSpec.model_validate({"nodes": nodes, "provider": "local"})
    return Pool(metadata=ObjectMeta(name=name), spec=spec)


def node(name: str) -> Node:
    return Node(metadata=ObjectMeta(name=name), spec=NodeSpec(pool="hello", pool_uid="u", slot=0, template_hash="0"))


def event(name: str, now: float) -> Event:
    return Event(
        metadata=ObjectMeta(name=name),
        regarding=ObjectReference(kind="Pool", namespace="default", name="hello"),
        reason=Reason.READY,
        note="ready",
        first_time=to_time(now),
        last_time=to_time(now),
    )
