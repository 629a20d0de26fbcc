"""How few nodes of a pool may be available, and how many may stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skyward.api import PoolSpec
from skyward.api.quantities import parse_duration, resolve_share
from skyward.planner.places import Member, Place


@dataclass(frozen=True, slots=True)
class Bounds:
    nodes: int
    floor: int
    """Least number of available nodes that our own choice may leave."""
    ceiling: int
    """Most nodes that may stand while a roll-out goes on."""

    @property
    def surge(self) -> int:
        return self.ceiling - self.nodes


def bounds(spec: PoolSpec) -> Bounds:
    """Shares of a small pool may both come to 0; then one node at a time may be unavailable. A pool that wants no node has
    nothing to replace: no surge keeps its old ones."""
    if spec.rollout.strategy == "Recreate" or spec.nodes == 0:
        return Bounds(nodes=spec.nodes, floor=0, ceiling=spec.nodes)
    surge = resolve_share(spec.rollout.max_surge, spec.nodes, round_up=True)
    unavailable = resolve_share(spec.rollout.max_unavailable, spec.nodes, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(nodes=spec.nodes, floor=max(0, spec.nodes - unavailable), ceiling=spec.nodes + surge)


@dataclass(frozen=True, slots=True)
class Availability:
    """Who counts as available: who has been ready for long enough."""

    min_ready_s: float
    now: float

    @staticmethod
    def of(spec: PoolSpec, now: float) -> Availability:
        return Availability(parse_duration(spec.rollout.min_ready), now)

    def holds(self, member: Member) -> bool:
        return member.place is Place.READY and (self.min_ready_s == 0 or self.now >= self._due(member))

    def next_at(self, members: Iterable[Member]) -> float | None:
        """When time alone makes another one available."""
        if self.min_ready_s == 0:
            return None
        return min((due for member in members if (due := self._due(member)) > self.now), default=None)

    def _due(self, member: Member) -> float:
        """Times are kept in whole seconds: it may have become ready up to one second later than it says."""
        return 0.0 if member.ready_since is None else member.ready_since + 1.0 + self.min_ready_s
