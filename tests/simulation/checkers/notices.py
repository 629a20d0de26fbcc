"""L13: who is told that a machine will be taken does not wait until it is."""

from __future__ import annotations

from skyward.facts import Listing
from tests.simulation.checkers.base import Checker
from tests.simulation.cloud import Machine
from tests.simulation.process import Process
from tests.simulation.storing import Commit

_LEAD_S = 150.0
"""An announcement so long before the loss is long enough: two resyncs, a slow call and a slow commit."""
_CALM_GAP_S = 45.0
"""An operator whose listings and commits follow each other like that is well."""


class NoticeChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._told_at: dict[str, float] = {}
        self._last: dict[str, tuple[int, float]] = {}
        """Of each sign of life: whose it was, and when."""
        self._calm_since = 0.0

    def announced(self, machine: Machine) -> None:
        self._told_at[machine.id] = self.world.now

    def committed(self, commit: Commit) -> None:
        self._sign("commit", commit.process)

    def listed(self, process: Process, listing: Listing) -> None:
        operator = self.world.operator
        if operator is not None and operator.process is process:
            self._sign("listing", process.number)

    def effect(self, what: str, machine: Machine) -> None:
        told_at = self._told_at.pop(machine.id, None)
        if told_at is None:
            return
        node = self.world.records.bound.get(machine.id)
        if what == "deleted":
            self.world.coverage.reach("node left before its announced loss")
            if machine.told_by == {"agent"}:
                self.world.coverage.reach("loss announced by the agent alone")
        elif what == "preempted" and node is not None and node.metadata.deletion_timestamp is None:
            self._check(machine, node.key, node.spec.pool, told_at)

    def _check(self, machine: Machine, key: str, pool_name: str, told_at: float) -> None:
        pool = self.world.records.pools.get(f"default/{pool_name}")
        now = self.world.now
        is_well = all(now - at < _CALM_GAP_S for _, at in self._last.values()) and self._calm_since < now - _LEAD_S
        if (
            "listing" not in machine.told_by
            or not is_well
            or now - told_at < _LEAD_S + self.world.cloud.profile.visibility_s
        ):
            return
        if pool is not None and not pool.spec.paused and not self._is_held(pool.key):
            self.violate("L13", key, f"its loss was announced {now - told_at:.0f} s before, and it stands")

    def _is_held(self, key: str) -> bool:
        """Something else forbids to act."""
        pool = self.world.records.pools[key]
        return any(one.reason in ("LineageUnknown", "NotSynced") for one in pool.status.conditions)

    def _sign(self, kind: str, process: int) -> None:
        before = self._last.get(kind)
        if before is None or before[0] != process or self.world.now - before[1] > _CALM_GAP_S:
            self._calm_since = self.world.now
        self._last[kind] = (process, self.world.now)
