"""S1, S15: replacing by our own choice. What users set as its bounds holds for every single node that leaves or comes."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime

from skyward.api import Node, NodeCondition, Pool, PoolCondition, Reason, Status, find, is_true
from skyward.api.meta import DO_NOT_DISRUPT
from skyward.api.quantities import parse_duration, parse_instant
from skyward.contracts import Verb
from skyward.planner import is_gone
from tests.simulation.checkers.base import Checker
from tests.simulation.storing import Commit

_UNSEEN_S = 25.0
"""What happened to another node less than so long ago may have been decided without: commits wait for their turn."""
_WHOLE_S = 2.0
"""Times of conditions are whole seconds."""
_BY_CHOICE = (Reason.TEMPLATE_CHANGED, Reason.RESTART_REQUESTED, Reason.INSTANCE_DRIFTED, Reason.REPLACE_REQUESTED)
_WAITS = {
    Reason.NOT_BEFORE: "rollout waited for its time",
    Reason.ON_DELETE: "rollout left to its user",
}


class RolloutChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._before: dict[str, Node] = {}
        """Every node as it was before the newest commit about it."""
        self._dropped_out: dict[str, list[float]] = defaultdict(list)
        """By pool uid: when a node of it ceased to be ready, or failed."""
        self._canaries: Counter[tuple[str, int]] = Counter()
        """By pool uid and generation: old nodes that gave way before the canaries were proved."""
        self._paused: set[str] = set()

    def committed(self, commit: Commit) -> None:
        gone: dict[str, list[Node]] = defaultdict(list)
        for change in commit.changes:
            thing = change.object
            if isinstance(thing, Pool):
                self._pool(thing, change.verb)
            if not isinstance(thing, Node):
                continue
            before = self._before.pop(thing.metadata.uid, None)
            if change.verb is not Verb.DELETED:
                self._before[thing.metadata.uid] = thing
            self._note(before, thing, change.verb)
            if change.verb is Verb.ADDED:
                self._added(thing)
            elif before is not None and _leaves(thing) and not _leaves(before):
                gone[thing.spec.pool_uid].append(before)
        for pool_uid, nodes in gone.items():
            self._left(pool_uid, nodes, commit)

    # --- what leaves -------------------------------------------------------------------------------------------------

    def _left(self, pool_uid: str, left: list[Node], commit: Commit) -> None:
        """In one commit, as they were before it."""
        pool = self._pool_of(left[0])
        if pool is None or pool.metadata.uid != pool_uid or pool.metadata.deletion_timestamp is not None:
            return
        by_choice = [node for node in left if self._reason(node) in _BY_CHOICE]
        excess = [node for node in left if self._reason(node) == Reason.TOO_MANY_NODES]
        if pool.spec.paused and (by_choice or excess):
            self.violate("S15", pool.key, f"{left[0].key} was taken away while the pool is paused")
        standing = self._standing(pool_uid)
        if excess and len(standing) + self._lately(pool_uid, commit) < pool.spec.nodes:
            self.violate("S15", pool.key, f"{len(standing)} nodes were left of {pool.spec.nodes} by scaling down")
        for node in by_choice:
            self._check_may_go(pool, node, commit)
        if by_choice:
            self._check_budget(pool, by_choice, commit)
            self._check_floor(pool, by_choice, standing, commit)
            self._check_canary(pool, by_choice, standing)

    def _check_may_go(self, pool: Pool, node: Node, commit: Commit) -> None:
        rollout, reason = pool.spec.rollout, self._reason(node)
        for marked in (pool, node):
            if marked.metadata.annotations.get(DO_NOT_DISRUPT, "false") != "false":
                self.violate("S15", node.key, f"it was replaced although {marked.kind} {marked.key} is protected")
        if reason == Reason.REPLACE_REQUESTED:
            return
        if rollout.strategy == "OnDelete":
            self.violate("S15", node.key, f"it was replaced for {reason} although that is left to its user")
        if rollout.not_before is not None and commit.at < parse_instant(rollout.not_before):
            self.violate("S15", node.key, f"it was replaced before {rollout.not_before}")
        if reason == Reason.RESTART_REQUESTED:
            self.world.coverage.reach("node replaced for a restart")
        if rollout.strategy == "Recreate":
            self.world.coverage.reach("node replaced under Recreate")
        elif rollout.canary != 0:
            self.world.coverage.reach("node replaced with a canary first")
        elif parse_duration(rollout.min_ready):
            self.world.coverage.reach("node replaced once others had been ready for a while")

    def _check_budget(self, pool: Pool, left: list[Node], commit: Commit) -> None:
        """Of nodes that served: what does not costs nothing, and what left before the budget began to hold is not called back."""
        if not any(is_true(node.status.conditions, NodeCondition.READY) for node in left):
            return
        decided_at = commit.at - (self.world.loop.time() - commit.asked_at) - 1.0
        allowed = min(
            (
                int(budget.nodes)
                for budget in pool.spec.disruption.budgets
                if all(_holds(budget.schedule, budget.duration, at) for at in (decided_at, commit.at))
            ),
            default=None,
        )
        going = [
            node
            for node in self.world.records.nodes_of(pool.metadata.uid)
            if self._reason(node) in _BY_CHOICE and not is_gone(node) and not node.status.failure and _served(node)
        ]
        if allowed is not None and len(going) > allowed:
            self.violate("S15", pool.key, f"{len(going)} nodes leave at once by choice, and {allowed} may")

    def _check_floor(self, pool: Pool, left: list[Node], standing: list[Node], commit: Commit) -> None:
        rollout, nodes = pool.spec.rollout, pool.spec.nodes
        if rollout.strategy == "Recreate" or not any(self._is_available(node, pool, commit) for node in left):
            return
        floor = nodes if rollout.max_surge != 0 else nodes - int(rollout.max_unavailable)
        available = sum(is_true(node.status.conditions, NodeCondition.READY) for node in standing)
        if available + self._lately(pool.metadata.uid, commit) < floor:
            self.violate("S15", pool.key, f"{available} ready nodes were left, and {floor} must be")

    def _check_canary(self, pool: Pool, left: list[Node], standing: list[Node]) -> None:
        wanted = int(pool.spec.rollout.canary)
        if not wanted:
            return
        new = [node for node in standing if self._is_new(node, pool)]
        key = (pool.metadata.uid, pool.metadata.generation)
        if sum(is_true(node.status.conditions, NodeCondition.READY) for node in new) >= min(wanted, pool.spec.nodes):
            self._canaries[key] = -1_000
            return
        self._canaries[key] += sum(is_true(node.status.conditions, NodeCondition.READY) for node in left)
        if self._canaries[key] > wanted:
            self.violate(
                "S15", pool.key, f"{self._canaries[key]} nodes gave way to {wanted} canaries that do not serve yet"
            )

    # --- what comes --------------------------------------------------------------------------------------------------

    def _added(self, node: Node) -> None:
        pool = self._pool_of(node)
        if pool is None or pool.metadata.uid != node.spec.pool_uid:
            return
        standing = self._standing(node.spec.pool_uid)
        rollout, reason = pool.spec.rollout, self._adopted(node)
        most = pool.spec.nodes + (0 if rollout.strategy == "Recreate" else int(rollout.max_surge))
        if len(standing) > most and not reason:
            self.violate("S1", pool.key, f"{len(standing)} nodes stand, and {most} may")
        others = [one for one in self.world.records.nodes_of(node.spec.pool_uid) if not self._is_new(one, pool)]
        old = [one.key for one in others if not (is_gone(one) or one.status.failure)]
        if rollout.strategy == "Recreate" and old and not reason:
            self.violate("S15", node.key, f"it was made while {old[0]} of another template is still there")

    def _adopted(self, node: Node) -> bool:
        """It was there before its record."""
        return bool(node.status.provider_id)

    # --- what is known -----------------------------------------------------------------------------------------------

    def _note(self, before: Node | None, node: Node, verb: Verb) -> None:
        """Readiness that was lost without our choosing it."""
        if before is None or not is_true(before.status.conditions, NodeCondition.READY) or _leaves(before):
            return
        lost = verb is Verb.DELETED or node.status.failure or not is_true(node.status.conditions, NodeCondition.READY)
        if lost or (_leaves(node) and self._reason(node) not in (*_BY_CHOICE, Reason.TOO_MANY_NODES)):
            self._dropped_out[node.spec.pool_uid].append(self.world.now)

    def _lately(self, pool_uid: str, commit: Commit) -> int:
        return sum(at > self.world.now - _UNSEEN_S for at in self._dropped_out[pool_uid])

    def _pool(self, pool: Pool, verb: Verb) -> None:
        if verb is Verb.DELETED:
            return
        if pool.spec.paused:
            self._paused.add(pool.metadata.uid)
        elif pool.metadata.uid in self._paused:
            self._paused.discard(pool.metadata.uid)
            self.world.coverage.reach("pool paused and resumed")
        rolling = find(pool.status.conditions, PoolCondition.ROLLING_OUT)
        if rolling is None:
            return
        if rolling.status is Status.FALSE and rolling.reason in _WAITS:
            self.world.coverage.reach(_WAITS[rolling.reason])
        if "disruption.budgets" in rolling.message:
            self.world.coverage.reach("rollout waited for its budget")

    def _pool_of(self, node: Node) -> Pool | None:
        return self.world.records.pools.get(f"{node.metadata.namespace}/{node.spec.pool}")

    def _standing(self, pool_uid: str) -> list[Node]:
        return [one for one in self.world.records.nodes_of(pool_uid) if not (_leaves(one) or one.status.failure)]

    def _reason(self, node: Node) -> str:
        current = self.world.records.nodes.get(node.metadata.uid, node)
        return current.status.retire_reason.partition(":")[0]

    def _is_new(self, node: Node, pool: Pool) -> bool:
        return node.spec.template_hash == pool.spec.template_hash

    def _is_available(self, node: Node, pool: Pool, commit: Commit) -> bool:
        ready = find(node.status.conditions, NodeCondition.READY)
        least_s = parse_duration(pool.spec.rollout.min_ready)
        if ready is None or ready.status is not Status.TRUE:
            return False
        return not least_s or commit.at - ready.last_transition_time.timestamp() > least_s + _UNSEEN_S + _WHOLE_S


def _leaves(node: Node) -> bool:
    return node.metadata.deletion_timestamp is not None


def _served(node: Node) -> bool:
    return is_true(node.status.conditions, NodeCondition.INITIALIZED)


def _holds(schedule: str | None, duration: str | None, at: float) -> bool:
    """Of schedules at one minute of every hour; others are never written here."""
    if schedule is None or duration is None:
        return True
    minute, *rest = schedule.split()
    assert rest == ["*"] * 4, schedule
    time = datetime.fromtimestamp(at, tz=UTC)
    since_s = (time.minute * 60 + time.second - int(minute) * 60) % 3600
    return since_s < parse_duration(duration)
