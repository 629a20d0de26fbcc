"""S28: where records are older than the machines that are there, nothing is made or deleted until somebody has accepted them."""

from __future__ import annotations

from skyward.facts import LaunchRequest
from tests.simulation.checkers.base import Checker
from tests.simulation.process import Process
from tests.simulation.storing import Commit


class LineageChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._unknown: set[str] = set()
        """Machines that a later leadership made than the records know of, until they are accepted."""

    def restored(self) -> None:
        known = self.world.records.launches
        self._unknown = {
            machine.id
            for machine in self.world.cloud.alive.values()
            if machine.owner == self.world.installation and not machine.extra and machine.launch not in known
        }
        if self._unknown:
            self.world.tell("records", f"lack {', '.join(sorted(self._unknown))}")

    def committed(self, commit: Commit) -> None:
        if not self._unknown:
            return
        launched = {instance for _, launch in commit.launches for instance in launch.instances}
        if launched & self._unknown:
            self._unknown -= launched
            self.world.coverage.reach("unknown machines adopted")

    def create_sent(self, process: Process, request: LaunchRequest) -> None:
        self._check(f"create of {request.launch}")

    def delete_sent(self, process: Process, instance_id: str) -> None:
        self._check(f"delete of {instance_id}")

    def _check(self, what: str) -> None:
        visible_at = self.world.now - self.world.cloud.profile.visibility_s
        shown = [self.world.cloud.machines[one] for one in self._unknown if one in self.world.cloud.machines]
        shown = [one for one in shown if one.created_at < visible_at and self.world.now < min(one.gone_at, one.lost_at)]
        if shown:
            self.violate("S28", what, f"was sent although nobody has accepted {shown[0].id}")
