"""S10, S22: what may be forgotten. Records outlive machines, launches outlive both as tombstones."""

from __future__ import annotations

from skyward.api import Pool
from skyward.contracts import Verb
from skyward.facts import Launch, Listing
from tests.simulation.checkers.base import Checker
from tests.simulation.process import Process
from tests.simulation.storing import Commit

_KEPT_S = 6.9 * 86_400.0
_LOOKED_AT_S = 30.0
"""What a listing showed for so long was there when the end of its pool was decided."""


class EndingChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._launches: dict[str, Launch] = {}
        self._shown: dict[int, dict[str, float]] = {}
        """By process: since when its listings show each machine."""

    def committed(self, commit: Commit) -> None:
        for launch_id in commit.dropped:
            self._dropped(launch_id)
        for _, launch in commit.launches:
            self._launches[launch.id] = launch
        for change in commit.changes:
            if isinstance(change.object, Pool) and change.verb is Verb.DELETED:
                self._ended(change.object, commit.process)

    def listed(self, process: Process, listing: Listing) -> None:
        before = self._shown.get(process.number, {})
        shown = {one.id: before.get(one.id, self.world.now) for one in listing.instances}
        provider_of = self.world.cloud.provider_of
        others = {name: at for name, at in before.items() if provider_of(name) not in ("", listing.provider)}
        self._shown[process.number] = {**others, **shown}

    def _dropped(self, launch_id: str) -> None:
        launch = self._launches.pop(launch_id, None)
        if launch is not None and not 0 < launch.gone_at < self.world.now - _KEPT_S:
            self.violate("S10", launch_id, "its record was dropped before it was a tombstone for a week")

    def _ended(self, pool: Pool, process: int) -> None:
        uid = pool.metadata.uid
        for node in self.world.records.nodes_of(uid):
            self.violate("S22", pool.key, f"its record went, and {node.key} is still there")
        for instance_id, since in self._shown.get(process, {}).items():
            machine = self.world.cloud.machines.get(instance_id)
            if machine is None or machine.pool_uid != uid or self.world.now >= machine.delete_asked_at:
                continue
            if self.world.cloud.is_alive(machine) and self.world.now - since > _LOOKED_AT_S:
                self.violate("S10", pool.key, f"its record went, and listings show its machine {instance_id}")
