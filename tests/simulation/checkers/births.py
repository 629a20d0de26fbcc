"""L5: who did not call home is started again before it is given up; S4: a create call that broke off halfway is no rejection."""

from __future__ import annotations

from skyward.api import Node, NodeCondition, is_true
from skyward.contracts import Verb
from skyward.facts import LaunchState
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit

_GIVEN_UP = "its agent did not call home"


class BirthChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._told: set[str] = set()

    def committed(self, commit: Commit) -> None:
        for _, launch in commit.launches:
            made = self.world.cloud.truth.made_by_launch.get(launch.id)
            if launch.state is LaunchState.UNKNOWN and made is not None and len(made) < launch.request.count:
                self.world.coverage.reach("create broke off halfway")
        for change in commit.changes:
            node = change.object
            if isinstance(node, Node) and change.verb is Verb.MODIFIED and node.metadata.uid not in self._told:
                self._look(node)

    def _look(self, node: Node) -> None:
        status = node.status
        if status.failure.startswith(_GIVEN_UP):
            self._told.add(node.metadata.uid)
            if not status.restarts:
                self.violate("L5", node.key, f"it was given up without a second start: {status.failure}")
        elif status.restarts and not is_true(status.conditions, NodeCondition.INITIALIZED):
            self._told.add(node.metadata.uid)
            self.world.coverage.reach("agent started again before its first word")
