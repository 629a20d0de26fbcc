"""S29: the leader lease is taken only when it was given free, or stood still for its whole duration."""

from __future__ import annotations

from skyward.contracts import Lease
from skyward.kit.leadership import LEADER
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit


class LeaseChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._newest: Lease | None = None
        self._at = 0.0

    def committed(self, commit: Commit) -> None:
        taken, before = commit.lease, self._newest
        if taken is None or taken.name != LEADER:
            return
        if before is not None and before.holder not in ("", taken.holder) and taken.epoch != before.epoch:
            self._taken(before, taken, self.world.now - self._at)
        self._newest, self._at = taken, self.world.now

    def _taken(self, before: Lease, taken: Lease, stood_s: float) -> None:
        """Where there is one operator at a time the former holder is dead, and the store proves it."""
        if self.world.scenario.operators > 1 and stood_s < before.duration_s:
            message = f"took the lease of {before.holder}, which renewed it {stood_s:.1f} s before"
            self.violate("S29", taken.holder, message)
