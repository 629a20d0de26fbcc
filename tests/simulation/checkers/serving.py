"""S40, S42, L13: who gets work. A broadcast's ranks stay where they were, a cordoned node gets no more, and a node that leaves by
our own choice may finish what it runs."""

from __future__ import annotations

from collections import defaultdict

from skyward.api import Node
from skyward.contracts import EndRow, LeaseRow, TaskRow, Verb
from skyward_agent.wire.messages import NODE_LOST, REPLACE_RANK
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit

_UNDER_WAY_S = 5.0
"""A lease may have been asked for before its node was cordoned, and wait for its turn."""
_TURNS = 3
"""An agent that stood still may hear its welcome late, after its successor's."""
_DRAIN_S = 60.0
"""What every pool here has."""


class ServingChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._tasks: dict[int, TaskRow] = {}
        self._holders: dict[tuple[int, int], str] = {}
        self._cordoned: dict[str, float] = {}
        self._agents: dict[tuple[int, str], list[str]] = defaultdict(list)
        """By operator and node: its incarnations, each time that another one was welcomed."""

    def committed(self, commit: Commit) -> None:
        self._tasks.update((task.seq, task) for task in commit.tasks)
        for lease in commit.leases:
            self._leased(lease)
        for end in commit.ends:
            self._ended(end)
        for change in commit.changes:
            if isinstance(change.object, Node):
                self._node(change.object, gone=change.verb is Verb.DELETED)

    def incarnation_welcomed(self, node_uid: str, incarnation: str) -> None:
        operator = self.world.operator
        seen = self._agents[operator.process.number if operator is not None else 0, node_uid]
        if not seen or seen[-1] != incarnation:
            seen.append(incarnation)
        if seen.count(incarnation) == _TURNS:
            self.violate("S42", node_uid, "two agents of it take turns")

    def _node(self, node: Node, *, gone: bool) -> None:
        if gone or not node.spec.unschedulable:
            self._cordoned.pop(node.metadata.uid, None)
        else:
            self._cordoned.setdefault(node.metadata.uid, self.world.now)

    def _leased(self, lease: LeaseRow) -> None:
        self._holders[lease.seq, lease.item] = lease.node_uid
        task = self._tasks.get(lease.seq)
        if task is not None and task.ranks and task.ranks[lease.item].node_uid != lease.node_uid:
            if task.policy.on_node_loss != REPLACE_RANK:
                self.violate("S40", f"{task.name}.{lease.item}", f"rank {lease.item} was leased to {lease.node}")
            self.world.coverage.reach("rank replaced")
        since = self._cordoned.get(lease.node_uid)
        if since is not None and self.world.now - since > _UNDER_WAY_S:
            self.violate("L13", lease.node, f"got work {self.world.now - since:.0f} s after it was cordoned")

    def _ended(self, end: EndRow) -> None:
        node = self.world.records.nodes.get(self._holders.pop((end.seq, end.item), ""))
        if node is None or end.note is None or end.note.outcome != NODE_LOST or "was removed" not in end.note.message:
            return
        deleted = node.metadata.deletion_timestamp
        waited_s = _DRAIN_S if deleted is None else self.world.now - deleted.timestamp()
        if waited_s < _DRAIN_S - 1.0 and self._leaves_by_choice(node):
            self.violate("L13", node.key, f"what it ran was stopped {waited_s:.0f} s after it was told to leave")

    def _leaves_by_choice(self, node: Node) -> bool:
        """Neither it nor its pool is at its end, and nobody takes its machine away."""
        pool = self.world.records.pools.get(f"{node.metadata.namespace}/{node.spec.pool}")
        machine = self.world.cloud.machines.get(node.status.provider_id)
        if node.status.failure or pool is None or machine is None:
            return False
        stays = pool.metadata.uid == node.spec.pool_uid and pool.metadata.deletion_timestamp is None
        runs = machine.lost is None and self.world.cloud.is_alive(machine)
        return stays and runs and not node.status.retire_reason.startswith("Interrupted")
