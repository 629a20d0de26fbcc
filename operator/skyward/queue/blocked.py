"""Why what waits cannot be given out, whatever becomes free, and since when: the condition `Schedulable` of a task.

Nobody tells of it: it is found when a task is looked at, so a time is the one at which it was first seen. Exact are that a queue is
held, and that a task could never be given out since it was made.
"""

from __future__ import annotations

from collections.abc import Sequence

from skyward.api import Condition, Reason, Status, TaskCondition, to_time
from skyward.contracts import NodeDirectory
from skyward.queue.live import LiveTask
from skyward.queue.policies import words
from skyward.queue.turns import selects


class Blocked:
    def __init__(self, nodes: NodeDirectory) -> None:
        self._nodes = nodes
        self._held: dict[str, float] = {}
        """Pools whose queue is held, and since when."""

    def look(self, pool: str, now: float) -> bool:
        """Its queue may have been held or opened: whether it is open."""
        if self._nodes.is_held(pool):
            self._held.setdefault(pool, now)
            return False
        self._held.pop(pool, None)
        return True

    def conditions(self, task: LiveTask, vacant: Sequence[int], now: float) -> tuple[Condition, ...]:
        """Present only while False. `vacant`: ranks of lost nodes that wait for another one."""
        found = self._why(task, vacant)
        if found is None:
            task.blocked_since, task.was_free = None, True
            return ()
        if task.blocked_since is None:
            task.blocked_since = self._began(task, found[0], now)
        return (
            Condition(
                type=TaskCondition.SCHEDULABLE,
                status=Status.FALSE,
                reason=found[0],
                message=found[1],
                last_transition_time=to_time(task.blocked_since),
            ),
        )

    def _began(self, task: LiveTask, reason: Reason, now: float) -> float:
        created_at = task.row.created_at
        if reason is Reason.QUEUE_HELD:
            return max(created_at, self._held.setdefault(task.row.pool, now))
        return now if task.was_free or task.started_at is not None else created_at

    def _why(self, task: LiveTask, vacant: Sequence[int]) -> tuple[Reason, str] | None:
        pool, selector = task.row.pool, task.row.policy.selector
        if not task.queued:
            return None
        if self._nodes.is_held(pool):
            return Reason.QUEUE_HELD, f"the queue of pool {pool} is held: set spec.queue to open"
        if not (selector or vacant):
            return None
        matching = [node for node in self._nodes.nodes(pool) if selects(selector, node.labels)]
        if selector and not matching:
            text = f"no node of pool {pool} has {words(selector)}: label one, or submit the task with another selector"
            return Reason.NO_MATCHING_NODE, text
        holders = {rank.node for index, rank in enumerate(task.ranks) if index not in vacant}
        if vacant and len(vacant) == task.queued and all(node.labels.get("node") in holders for node in matching):
            ranks = ", ".join(map(str, vacant))
            text = f"rank {ranks} lost its node, and each node of pool {pool} has a rank of its own: add a node"
            return Reason.NO_SPARE_NODE, text
        return None
