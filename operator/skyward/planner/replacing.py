"""The roll-out: which outdated nodes leave now, how many new ones may come before them, and what the others wait for.

With surge an old node leaves only against a new one that is available. Without it working nodes leave as far as the
floor allows. A template that fails takes no more nodes than may be made anew, and a canary is proved before the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from skyward.api import PoolSpec, Reason
from skyward.api.quantities import parse_instant, resolve_share
from skyward.planner.bounds import Availability, Bounds, bounds
from skyward.planner.budgets import Budget, strictest
from skyward.planner.failures import Failures
from skyward.planner.places import Member, Place


@dataclass(frozen=True, slots=True)
class Rollout:
    """One pool's roll-out at one instant."""

    spec: PoolSpec
    limits: Bounds
    failures: Failures
    availability: Availability
    budget: Budget
    leaving: int
    """Outdated nodes that are on their way out and not proved gone."""
    rolling: bool
    """Outdated nodes stood when this pass began."""
    now: float

    @staticmethod
    def of(spec: PoolSpec, failures: Failures, leaving: int, now: float, *, rolling: bool) -> Rollout:
        """Budgets are looked at only where there is something to replace."""
        budget = strictest(spec.disruption.budgets, spec.nodes, now) if rolling else Budget()
        return Rollout(spec, bounds(spec), failures, Availability.of(spec, now), budget, leaving, rolling, now)

    @property
    def recreates(self) -> bool:
        return self.spec.rollout.strategy == "Recreate"

    @property
    def begins_at(self) -> float | None:
        """When a roll-out that was put off may begin; None when it may now."""
        text = self.spec.rollout.not_before
        at = parse_instant(text) if text is not None else None
        return at if at is not None and at > self.now else None

    @property
    def floor(self) -> int:
        """Least number of available nodes that may be left now. With surge a new node serves before an old one leaves."""
        floor = self.limits.nodes if self.limits.surge else self.limits.floor
        return floor if self.budget.nodes is None else max(floor, self.limits.nodes - self.budget.nodes)

    def hold(self, member: Member) -> Reason | None:
        """Why this outdated node is not to be replaced for now, whatever the numbers are."""
        if member.drift is None:
            return None
        if member.is_protected:
            return Reason.DO_NOT_DISRUPT
        if member.drift.reason is Reason.REPLACE_REQUESTED:
            return None
        if self.spec.rollout.strategy == "OnDelete":
            return Reason.ON_DELETE
        return Reason.NOT_BEFORE if self.begins_at is not None else None

    def moves(self, member: Member) -> bool:
        return member.outdated and self.hold(member) is None

    def most(self, standing: Iterable[Member]) -> int:
        """How many may stand: the surge is there only while there is somebody to replace."""
        moving = self.rolling and any(self.moves(member) for member in standing)
        return self.limits.ceiling if moving else self.limits.nodes

    def available(self, standing: Iterable[Member]) -> int:
        return sum(self.availability.holds(member) for member in standing)

    def leaves_now(self, standing: Sequence[Member]) -> list[Member]:
        """The outdated nodes to retire: those that never served freely, working ones within the budget, highest slot first."""
        if self.failures.stopped or not self.rolling:
            return []
        if self.recreates:
            return self._all_or_none(standing)
        old = sorted((member for member in standing if self.moves(member)), key=self._cheapness)
        canaries = self.canary_room(standing)
        idle = [member for member in old if member.place is Place.PENDING][:canaries]
        room = min(
            self.budget_room,
            inf if canaries is None else canaries - len(idle),
            inf if (allowance := self.failures.allowance(count_new(standing), self.now)) is None else allowance,
        )
        spare = self.available(standing) - self.floor
        working: list[Member] = []
        for member in (member for member in old if member.place is Place.READY):
            cost = self.availability.holds(member)
            if len(working) >= room or spare - cost < 0:
                break
            spare -= cost
            working.append(member)
        return [*idle, *working]

    @property
    def budget_room(self) -> float:
        """How many more may be disrupted at once."""
        return inf if self.budget.nodes is None else max(0, self.budget.nodes - self.leaving)

    def surge_room(self, standing: Sequence[Member], fill: int) -> float:
        """How many nodes beyond `nodes` may be made now; `fill` of the new template are made anyway."""
        if self.budget.is_closed:
            return 0
        return inf if (canaries := self._canaries_missing(standing)) is None else max(0, canaries - fill)

    def canary_room(self, standing: Sequence[Member]) -> int | None:
        """How many old nodes may give way to canaries; None when the canaries are proved, or none are wanted. Nobody gives way
        to one that has a place, its own or in the surge, whatever it still waits for."""
        missing = self._canaries_missing(standing)
        free = max(0, self.most(standing) - len(standing))
        return None if missing is None else max(0, missing - free)

    @property
    def canaries(self) -> int:
        return min(resolve_share(self.spec.rollout.canary, self.limits.nodes, round_up=True), self.limits.nodes)

    def _canaries_missing(self, standing: Sequence[Member]) -> int | None:
        new = [member for member in standing if not member.outdated]
        if self.available(new) >= self.canaries:
            return None
        return max(0, self.canaries - len(new))

    def _all_or_none(self, standing: Sequence[Member]) -> list[Member]:
        """Recreate begins only when nothing holds any of them back: half of a pool is neither the old nor the new one."""
        old = [member for member in standing if member.outdated]
        serving = sum(member.place in (Place.READY, Place.UNSURE) for member in old)
        if any(self.hold(member) for member in old) or serving > self.budget_room:
            return []
        return [member for member in old if member.place in (Place.PENDING, Place.READY)]

    def _cheapness(self, member: Member) -> tuple[bool, int, str]:
        return self.availability.holds(member), -member.slot, member.key


def count_new(standing: Iterable[Member]) -> int:
    """Nodes of the current template that are still coming up."""
    return sum(not member.outdated and member.place in (Place.PENDING, Place.LOST) for member in standing)
