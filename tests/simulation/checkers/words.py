"""S14: what a user said of a node stays said. Nobody but users takes a mark away or opens a cordoned node again, and a failed node
that somebody wants to look at is there."""

from __future__ import annotations

from skyward.api import Node, Reason
from skyward.api.meta import DO_NOT_DISRUPT, KEEP_ON_FAILURE, REPLACE
from skyward.contracts import Verb
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit

_BY_USERS = ("commit NodeWrites.update", "commit Stage.cordon", "commit Stage.annotate")
"""Through the API, and in the stories of the sweep."""
_MARKS = (DO_NOT_DISRUPT, REPLACE, KEEP_ON_FAILURE)
_SURELY_LISTED_S = 60.0


class WordChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._nodes: dict[str, Node] = {}

    def committed(self, commit: Commit) -> None:
        for change in commit.changes:
            if not isinstance(change.object, Node):
                continue
            node, before = change.object, self._nodes.pop(change.object.metadata.uid, None)
            if change.verb is Verb.DELETED:
                continue
            self._nodes[node.metadata.uid] = node
            if before is not None:
                self._check_words(before, node, commit)
                self._check_kept(before, node)

    def _check_words(self, before: Node, node: Node, commit: Commit) -> None:
        if commit.name in _BY_USERS:
            return
        if before.spec.unschedulable and not node.spec.unschedulable:
            self.violate("S14", node.key, f"it was cordoned, and {commit.name} opened it again")
        if _marks(before) != _marks(node):
            self.violate("S14", node.key, f"{commit.name} made {_marks(node)} of a user's {_marks(before)}")

    def _check_kept(self, before: Node, node: Node) -> None:
        """Where it is the only one that is to be kept, and its machine is surely listed."""
        pool = self.world.records.pools.get(f"{node.metadata.namespace}/{node.spec.pool}")
        if pool is None or pool.metadata.deletion_timestamp is not None or not node.status.failure:
            return
        asked = before.metadata.annotations.get(KEEP_ON_FAILURE, pool.metadata.annotations.get(KEEP_ON_FAILURE))
        if asked != "true" or before.metadata.deletion_timestamp is not None:
            return
        if node.metadata.deletion_timestamp is None:
            if before.status.failure:
                self.world.coverage.reach("failed node kept for a look")
            return
        if node.status.retire_reason.startswith(Reason.NODE_FAILED) and self._is_there(node) and self._is_alone(node):
            self.violate("S14", node.key, "it failed and was to be kept for a look, and it leaves")

    def _is_there(self, node: Node) -> bool:
        machine = self.world.cloud.machines.get(node.status.provider_id)
        if machine is None or machine.lost is not None or not self.world.cloud.is_alive(machine):
            return False
        profile = self.world.cloud.profile
        listed_by = self.world.now - 2 * profile.visibility_s - 3 * profile.resync_s - _SURELY_LISTED_S
        return machine.created_at < listed_by

    def _is_alone(self, node: Node) -> bool:
        others = self.world.records.nodes_of(node.spec.pool_uid)
        return not any(one.status.failure and one.metadata.uid != node.metadata.uid for one in others)


def _marks(node: Node) -> dict[str, str]:
    return {name: text for name, text in node.metadata.annotations.items() if name in _MARKS}
