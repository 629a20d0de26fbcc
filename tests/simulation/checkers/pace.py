"""S13: a template whose node has just failed is not tried again at once."""

from __future__ import annotations

from skyward.api import Node, NodeCondition, Pool, is_true
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.contracts import Verb
from tests.simulation.checkers.base import Checker
from tests.simulation.loop import START
from tests.simulation.storing import Commit

_LEAST_S = 9.0
"""Times of failures are whole seconds: that is ten, less one."""


class PaceChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._failed_at: dict[tuple[str, str], tuple[float, float]] = {}
        """When a node of this pool and template last failed that was never ready, and since when that is on record; as long as
        none became ready since."""
        self._served_at: dict[tuple[str, str], float] = {}
        """When a node of this pool and template last became ready for the first time."""
        self._failed: set[str] = set()
        self._was_ready: set[str] = set()
        self._asked: dict[str, tuple[str, float]] = {}
        """By pool uid: a human's newest wish for another try, and when it was taken in: the time it names is of some clock."""

    def committed(self, commit: Commit) -> None:
        for change in commit.changes:
            node = change.object
            if isinstance(node, Node) and change.verb is Verb.ADDED:
                self._added(node, START + commit.asked_at)
            elif isinstance(node, Node) and change.verb is Verb.MODIFIED:
                self._look(node, START + commit.asked_at)
            elif isinstance(node, Pool):
                self._take_wish(node)

    def _added(self, node: Node, decided_at: float) -> None:
        failed = self._failed_at.get((node.spec.pool_uid, node.spec.template_hash))
        pool = self.world.records.pools.get(f"{node.metadata.namespace}/{node.spec.pool}")
        if failed is None or pool is None:
            return
        failed_at, known_at = failed
        waited_s = decided_at - failed_at
        # Two commits that wait for the same slow disk do not know of each other.
        if decided_at >= known_at and waited_s < _LEAST_S and self._asked_at(pool) < failed_at - 1.0:
            self.violate("S13", node.key, f"it was made {waited_s:.1f} s after a node of its template had failed")

    def _look(self, node: Node, found_at: float) -> None:
        """What was found long before it could be committed counts from when it was found: that is what records say."""
        uid, key = node.metadata.uid, (node.spec.pool_uid, node.spec.template_hash)
        if uid not in self._was_ready and is_true(node.status.conditions, NodeCondition.INITIALIZED):
            self._was_ready.add(uid)
            self._failed_at.pop(key, None)
            self._served_at[key] = found_at
        is_new = node.status.failure and uid not in self._failed and uid not in self._was_ready
        # Within one second nobody knows which came first.
        if is_new and int(self._served_at.get(key, 0.0)) < int(found_at):
            self._failed_at[key] = (found_at, self.world.now)
        if node.status.failure:
            self._failed.add(uid)

    def _take_wish(self, pool: Pool) -> None:
        text = pool.metadata.annotations.get(RECONCILE_REQUESTED, "")
        if text != self._asked.get(pool.metadata.uid, ("", 0.0))[0]:
            self._asked[pool.metadata.uid] = (text, self.world.now)

    def _asked_at(self, pool: Pool) -> float:
        return self._asked.get(pool.metadata.uid, ("", 0.0))[1]
