"""L3: what belongs to no record is deleted only when two complete listings, far enough apart, have shown it."""

from __future__ import annotations

from collections import defaultdict

from skyward.facts import Listing
from tests.simulation.checkers.base import Checker
from tests.simulation.process import Process


class MarkChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._shown: dict[int, dict[str, tuple[float, float]]] = defaultdict(dict)
        """By process: the first and the newest of its listings, without a gap between, that showed each machine."""
        self._proved: set[tuple[int, str]] = set()
        """Shown for long enough, by process. A call may wait for its turn until the machine is gone: then it harms nobody."""

    def listed(self, process: Process, listing: Listing) -> None:
        before, at = self._shown[process.number], listing.started_at
        shown = {one.id: (before.get(one.id, (at, at))[0], at) for one in listing.instances}
        provider_of = self.world.cloud.provider_of
        others = {name: times for name, times in before.items() if provider_of(name) not in ("", listing.provider)}
        self._shown[process.number] = {**others, **shown}
        for instance_id, (first, newest) in shown.items():
            if newest > first and newest - first >= self.world.cloud.profile.visibility_s:
                self._proved.add((process.number, instance_id))

    def delete_sent(self, process: Process, instance_id: str) -> None:
        if instance_id in self.world.records.bound or (process.number, instance_id) in self._proved:
            return
        first, newest = self._shown[process.number].get(instance_id, (0.0, 0.0))
        self.violate("L3", instance_id, f"no node has it, and listings showed it for {newest - first:.1f} s only")
