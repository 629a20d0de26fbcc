"""S22, S24, S43: who is who. A node has one machine in all its life, a machine one node, and a pool declared again is another."""

from __future__ import annotations

from skyward.api import Node, Pool, PoolSpec
from skyward.contracts import Verb
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit


class IdentityChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._machine_of: dict[str, str] = {}
        """By node uid."""
        self._node_of: dict[str, str] = {}
        """By the provider's id."""
        self._specs: dict[str, tuple[int, PoolSpec]] = {}
        """By pool uid, with its generation."""

    def committed(self, commit: Commit) -> None:
        for change in commit.changes:
            if isinstance(change.object, Node) and change.verb is not Verb.DELETED:
                self._node(change.object)
            elif isinstance(change.object, Pool):
                self._pool(change.object, change.verb)

    def _node(self, node: Node) -> None:
        uid, machine = node.metadata.uid, node.status.provider_id
        before = self._machine_of.get(uid, "")
        if before and machine != before:
            self.violate("S43", node.key, f"it was bound to {before}, and now to {machine or 'nothing'}")
        if not machine:
            return
        self._machine_of[uid] = machine
        owner = self._node_of.setdefault(machine, uid)
        if owner != uid:
            self.violate("S43", node.key, f"it was given {machine}, which is another node's")

    def _pool(self, pool: Pool, verb: Verb) -> None:
        uid, generation = pool.metadata.uid, pool.metadata.generation
        before = self._specs.get(uid)
        if verb is Verb.ADDED and before is not None:
            self.violate("S22", pool.key, f"it was declared again under its old uid {uid}")
        if before is not None and before[0] == generation and before[1] != pool.spec:
            self.violate("S24", pool.key, f"its spec changed, and its generation is still {generation}")
        self._specs[uid] = (generation, pool.spec)
