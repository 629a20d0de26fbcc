"""S12: what no plan gets past: instances that live, create calls within ten minutes, and their price, counted from the truth."""

from __future__ import annotations

from collections import deque

from skyward.api import Node, NodeCondition, Reason, find
from skyward.facts import Ceilings
from tests.simulation.checkers.base import Checker
from tests.simulation.cloud import Machine
from tests.simulation.storing import Commit

_WINDOW_S = 600.0 - 125.0
"""A call may arrive, and its outcome be known, that much later than it was sent."""


class CeilingChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._made: deque[tuple[float, str]] = deque()

    def committed(self, commit: Commit) -> None:
        if self.world.ceilings == Ceilings():
            return
        for change in commit.changes:
            if isinstance(change.object, Node):
                launched = find(change.object.status.conditions, NodeCondition.LAUNCHED)
                if launched is not None and launched.reason is Reason.CEILING_REACHED:
                    self.world.coverage.reach("launch held by a ceiling")

    def effect(self, what: str, machine: Machine) -> None:
        ceilings = self.world.ceilings
        if what != "created" or machine.extra or ceilings == Ceilings():
            return
        self._made.append((self.world.now, machine.pool_uid))
        while self._made[0][0] < self.world.now - _WINDOW_S:
            self._made.popleft()
        alive = [one for one in self.world.cloud.alive.values() if one.owner == machine.owner and not one.extra]
        own = [one for one in alive if one.pool_uid == machine.pool_uid]
        counts = (
            ("instances", len(alive), ceilings.instances),
            ("instances of its pool", len(own), ceilings.pool_instances),
            ("$/h", _price(alive), ceilings.usd_per_hour),
            ("$/h of its pool", _price(own), ceilings.pool_usd_per_hour),
            ("creates", len(self._made), ceilings.creates),
            ("creates of its pool", sum(uid == machine.pool_uid for _, uid in self._made), ceilings.pool_creates),
        )
        for name, count, most in counts:
            if count > most + 1e-9:
                self.violate("S12", machine.id, f"with it there are {count:g} {name}, and {most:g} may be")


def _price(machines: list[Machine]) -> float:
    return sum(one.offering.usd_per_hour for one in machines)
