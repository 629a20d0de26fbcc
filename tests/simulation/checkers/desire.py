"""S17, S18, S22, S24: what users wrote, and what may be concluded from files."""

from __future__ import annotations

from skyward.api import Node, Pool
from skyward.contracts import Verb
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit


class DesireChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._observed: dict[str, int] = {}
        self._generation: dict[str, int] = {}
        self._leaving: set[str] = set()
        self._held: dict[str, str] = {}
        """By pool uid: the hash under which its deletion waits for somebody's word."""

    def restored(self) -> None:
        super().restored()
        pools = self.world.records.pools.values()
        self._leaving = {pool.metadata.uid for pool in pools if pool.metadata.deletion_timestamp is not None}

    def committed(self, commit: Commit) -> None:
        self._check_size(commit)
        for change in commit.changes:
            if isinstance(change.object, Pool):
                self._pool(change.object, change.verb, commit.process)
            elif isinstance(change.object, Node) and change.verb is Verb.ADDED:
                self._check_belongs(change.object)

    def _check_belongs(self, node: Node) -> None:
        if node.spec.pool_uid in self._leaving:
            self.violate("S22", node.key, "a node was added to a pool that is being deleted")

    def _check_size(self, commit: Commit) -> None:
        """One snapshot takes away little, or what somebody approved."""
        going = [
            pool
            for change in commit.changes
            if isinstance(pool := change.object, Pool)
            and pool.metadata.deletion_timestamp is not None
            and pool.metadata.uid not in self._leaving
        ]
        living = len(going) + sum(
            pool.metadata.deletion_timestamp is None for pool in self.world.records.pools.values()
        )
        unasked = [pool for pool in going if self._held.get(pool.metadata.uid) not in self.world.desire.approved]
        if len(going) > max(1, living / 4) and unasked:
            self.violate("S19", going[0].key, f"{len(going)} of {living} pools were taken for deleted at once")

    def _pool(self, pool: Pool, verb: Verb, process: int) -> None:
        uid = pool.metadata.uid
        observed, generation = pool.status.observed_generation, pool.metadata.generation
        if observed < self._observed.get(uid, 0) or generation < self._generation.get(uid, 0):
            self.violate("S24", pool.key, f"went back to generation {generation}, observed {observed}")
        self._observed[uid], self._generation[uid] = observed, generation
        if pool.status.held is not None:
            self._held[uid] = pool.status.held.hash
        if pool.metadata.deletion_timestamp is not None and uid not in self._leaving:
            self._leaving.add(uid)
            why = self.world.desire.objection(pool.metadata.name, process)
            if why is not None:
                self.violate("S18", pool.key, f"it was taken for deleted, and {why}")
        if verb is Verb.ADDED or verb is Verb.MODIFIED:
            why = self.world.desire.objection_to_spec(pool)
            if why is not None:
                self.violate("S17", pool.key, why)
