"""How many nodes are silent now, in each pool and in all, for the breaker: counted anew while any is, and never stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from skyward.api import Node, Pool
from skyward.controllers.deps import Deps
from skyward.facts import AgentSession, Hindrance, ObservedNode
from skyward.kit.steady import steady
from skyward.planner import Losses, Patience, blocks, excused_until, silent_since

Observe = Callable[[Node], ObservedNode]


@dataclass(slots=True)
class _Census:
    """Of one instant."""

    stamp: tuple[float, ...]
    by_pool: dict[str, Losses]
    everywhere: Losses


class LossCounts:
    def __init__(self, deps: Deps, observe: Observe) -> None:
        self._deps = deps
        self._observe = observe
        self._clock = steady(deps.clock)
        self._last: _Census | None = None

    def about(self, observed: ObservedNode) -> Hindrance | None:
        """Why this node may not be given up for its silence."""
        node = observed.node
        if _is_heard(node, observed.session):
            return None
        now = self._clock.now()
        since = silent_since(observed, self._patience(), now)
        if since is None:
            return None
        pool = self._deps.cache.get(Pool, f"{node.metadata.namespace}/{node.spec.pool}")
        if since <= excused_until(pool, now):
            return None
        census = self._census()
        return blocks(census.by_pool.get(node.spec.pool_uid, Losses()), census.everywhere)

    def _census(self) -> _Census:
        """At most one a second and for each listing: what is silent stays so for longer than that before it is given up."""
        now = self._clock.now()
        listings = (self._deps.listings.newest(name) for name in sorted(self._deps.drivers))
        stamp = (now // 1, *(listing.started_at if listing is not None else 0.0 for listing in listings))
        if self._last is None or self._last.stamp != stamp:
            self._last = self._count(stamp, now)
        return self._last

    def _count(self, stamp: tuple[float, ...], now: float) -> _Census:
        silent: dict[str, list[str]] = defaultdict(list)
        nodes: dict[str, int] = defaultdict(int)
        excused = {pool.metadata.uid: excused_until(pool, now) for pool in self._deps.cache.list(Pool)}
        for node in self._deps.cache.list(Node):
            pool_uid = node.spec.pool_uid
            is_silent = self._is_silent(node, excused.get(pool_uid, 0.0), now)
            nodes[pool_uid] += is_silent or _stands(node)
            if is_silent:
                silent[pool_uid].append(node.metadata.name)
        by_pool = {uid: Losses(tuple(sorted(silent.get(uid, ()))), count) for uid, count in nodes.items()}
        everybody = tuple(name for losses in by_pool.values() for name in losses.silent)
        return _Census(stamp, by_pool, Losses(everybody, sum(nodes.values())))

    def _is_silent(self, node: Node, excused: float, now: float) -> bool:
        if _is_heard(node, self._deps.link.session(node.metadata.uid)):
            return False
        since = silent_since(self._observe(node), self._patience(), now)
        return since is not None and since > excused

    def _patience(self) -> Patience:
        """A step of the clock begins it anew."""
        return Patience(started_at=self._clock.began, lease_s=self._deps.durations.lease_s)


def _is_heard(node: Node, session: AgentSession | None) -> bool:
    """By far the most are: they cost nothing more."""
    return session is not None and session.connected and not node.status.failure


def _stands(node: Node) -> bool:
    return node.metadata.deletion_timestamp is None and not node.status.failure and bool(node.status.provider_id)
