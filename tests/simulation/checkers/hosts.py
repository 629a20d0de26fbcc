"""S13: a host on which a node never came up is left alone for a while."""

from __future__ import annotations

from skyward.api import Node, NodeCondition, is_true
from skyward.contracts import Verb
from skyward.facts import Launch, LaunchState
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit

_ALONE_S = (30.0, 500.0)
"""After a failure its host is surely known, and surely not forgiven yet."""


class HostChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._failed_at: dict[tuple[str, str], float] = {}
        """By provider and host: when a node on it failed that was never ready."""
        self._told: set[str] = set()

    def restored(self) -> None:
        super().restored()
        self._told.update(uid for uid, node in self.world.records.nodes.items() if node.status.failure)

    def committed(self, commit: Commit) -> None:
        for before, launch in commit.launches:
            if before is None and launch.state is LaunchState.PREPARED:
                self._check(launch)
        for change in commit.changes:
            node = change.object
            if isinstance(node, Node) and change.verb is not Verb.DELETED:
                self._note(node)

    def _check(self, launch: Launch) -> None:
        low_s, high_s = _ALONE_S
        for (provider, host), failed_at in self._failed_at.items():
            if provider == launch.request.offering.provider and low_s < self.world.now - failed_at < high_s:
                self.world.coverage.reach("launch kept off a bad host")
                if host not in launch.request.avoid_hosts:
                    self.violate(
                        "S13",
                        launch.id,
                        f"it may land on {host}, where a node failed {self.world.now - failed_at:.0f} s ago",
                    )

    def _note(self, node: Node) -> None:
        status = node.status
        if any(one.reason == "HealthCheckFailed" for one in status.conditions):
            self.world.coverage.reach("health check failed on a node")
        if status.retire_reason.startswith("HealthCheckFailed") or "health check" in status.retire_reason:
            self.world.coverage.reach("node repaired for its health check")
        if not status.failure or not status.host_id or node.metadata.uid in self._told:
            return
        self._told.add(node.metadata.uid)
        served = is_true(status.conditions, NodeCondition.INITIALIZED)
        announced = is_true(status.conditions, NodeCondition.INTERRUPTED)
        if not served and not announced:
            self._failed_at[status.provider, status.host_id] = self.world.now
