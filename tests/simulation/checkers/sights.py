"""Nothing is checked here: it tells which of the known places a run has reached."""

from __future__ import annotations

from skyward.api import Event, Node, NodeCondition, Pool, PoolCondition, Reason, Status, find, is_true
from skyward.contracts import EndRow, Verb
from skyward.facts import InstanceState, Launch, LaunchState, Listing
from skyward_agent.wire.messages import NODE_LOST, SUCCEEDED
from tests.simulation.checkers.base import Checker
from tests.simulation.cloud import FOREIGN, Machine
from tests.simulation.process import Process
from tests.simulation.storing import Commit

_EVENTS = {
    Reason.INSUFFICIENT_CAPACITY: "create refused for lack of capacity",
    Reason.LAUNCH_FAILED: "machine made and of no use",
    Reason.MANIFEST_INVALID: "manifest refused",
    Reason.SOURCE_MISSING: "source missing",
    Reason.SOURCE_BUSY: "source busy",
    Reason.HOST_KEY_MISMATCH: "host key refused",
    Reason.NODE_FAILED: "node failed",
    Reason.MANIFEST_REMOVED: "pool removed",
    Reason.DRAINED: "node drained",
}
_LAUNCHES = {
    LaunchState.UNKNOWN: "launch unknown",
    LaunchState.REJECTED: "launch rejected",
    LaunchState.ABSENT: "launch absent",
}
_DELETED = {
    InstanceState.PREEMPTED: "machine taken by its provider",
    InstanceState.HALTED: "machine stopped from outside",
    InstanceState.STARTING: "machine that never starts deleted",
}


class Sights(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._reach = self.world.coverage.reach
        self._senders: dict[str, int] = {}
        self._deletes: set[str] = set()
        self._uids: dict[str, str] = {}
        self._blocked: set[str] = set()
        self._rolling: set[str] = set()
        self._refused: set[tuple[str, int]] = set()
        self._ready: set[tuple[str, int]] = set()
        self._zombies: set[str] = set()
        self._pool_of: dict[int, str] = {}
        """Of tasks, by number."""

    # --- commits -----------------------------------------------------------------------------------------------------

    def committed(self, commit: Commit) -> None:
        for before, launch in commit.launches:
            self._launch(commit, before, launch)
        for end in commit.ends:
            self._ended(end)
        self._pool_of.update((task.seq, task.pool) for task in commit.tasks)
        for seq, items in commit.cancels:
            if items:
                self._reach("item cancelled")
                pool = self.world.records.pools.get(self._pool_of.get(seq, ""))
                if pool is None or pool.metadata.deletion_timestamp is not None:
                    self._reach("work of a deleted pool cancelled")
        for lease in commit.leases:
            if lease.attempt > 1:
                self._reach("item tried again")
        for change in commit.changes:
            self._object(change.object, change.verb)

    def _launch(self, commit: Commit, before: Launch | None, launch: Launch) -> None:
        point = _LAUNCHES.get(launch.state)
        if point is not None and (before is None or before.state is not launch.state):
            self._reach(point)
        if launch.state is LaunchState.SENT:
            self._senders[launch.id] = commit.process
            if launch.attempts > 1:
                self._reach("launch sent again")
            if len(launch.nodes) > 1:
                self._reach("launch of several nodes")
        if launch.state is LaunchState.BOUND and before is not None and before.state is not LaunchState.BOUND:
            by_listing = any(
                isinstance(change.object, Event) and change.object.reason is Reason.ADOPTED for change in commit.changes
            )
            self._reach("launch bound by a listing" if by_listing else "launch bound by its answer")
            if len(launch.instances) < launch.request.count:
                self._reach("launch bound to fewer than it asked for")
            if self._senders.get(launch.id) != commit.process:
                self._reach("launch that a later operator resolved")
            if any(self._is_leaving(change.object) for change in commit.changes):
                self._reach("launch bound to a node that was leaving")

    def _is_leaving(self, node: object) -> bool:
        return isinstance(node, Node) and node.metadata.deletion_timestamp is not None

    def _ended(self, end: EndRow) -> None:
        if end.outcome == SUCCEEDED:
            self._reach("item succeeded")
        elif end.outcome:
            self._reach("item failed")
            if end.counted > 1:
                self._reach("item given up after its last attempt")
        if end.note is not None and NODE_LOST in str(end.note):
            self._reach("item lost with its node")

    def _object(self, thing: object, verb: Verb) -> None:
        if isinstance(thing, Event):
            point = _EVENTS.get(thing.reason)
            if point is not None:
                self._reach(point)
            if thing.reason is Reason.MANIFEST_ACCEPTED and "good again" in thing.note:
                self._reach("manifest good again")
        elif isinstance(thing, Node):
            self._node(thing)
        elif isinstance(thing, Pool) and verb is not Verb.DELETED:
            self._pool(thing)

    def _node(self, node: Node) -> None:
        if is_true(node.status.conditions, NodeCondition.READY):
            self._reach("node ready")
            place = (node.spec.pool_uid, node.spec.slot)
            if place in self._refused:
                self._reach("node replaced after a loss")
            if node.status.restarts:
                self._reach("agent started again")
        if any(condition.reason is Reason.BOOTSTRAP_FAILED for condition in node.status.conditions):
            self._reach("bootstrap failed")
        if node.status.failure:
            self._refused.add((node.spec.pool_uid, node.spec.slot))
            if "deadline" in node.status.failure or "was not done after" in node.status.failure:
                self._reach("bootstrap timed out")
        drained = find(node.status.conditions, NodeCondition.DRAINED)
        if drained is not None and drained.status is Status.TRUE:
            self._reach("node drained")

    def _pool(self, pool: Pool) -> None:
        uid, conditions = pool.metadata.uid, pool.status.conditions
        if self._uids.setdefault(pool.key, uid) != uid:
            self._reach("pool declared again under a new uid")
        if pool.spec.nodes == 0:
            self._reach("pool scaled to nothing")
        if pool.status.held is not None:
            self._reach("deletion held")
        reasons = {condition.reason for condition in conditions}
        if Reason.NOT_SYNCED in reasons:
            self._reach("pool not synced")
        if Reason.TEMPLATE_FAILING in reasons:
            self._reach("template stopped itself")
        if Reason.REMEDIATION_BLOCKED in reasons:
            self._blocked.add(uid)
            self._reach("remediation blocked")
        elif uid in self._blocked:
            self._blocked.discard(uid)
            self._reach("remediation open again")
        if is_true(conditions, PoolCondition.ROLLING_OUT):
            self._rolling.add(uid)
        elif uid in self._rolling:
            self._rolling.discard(uid)
            self._reach("pool rolled out")

    # --- the cloud ---------------------------------------------------------------------------------------------------

    def delete_sent(self, process: Process, instance_id: str) -> None:
        if instance_id in self._deletes:
            self._reach("delete asked again")
        self._deletes.add(instance_id)

    def listed(self, process: Process, listing: Listing) -> None:
        if not self._zombies:
            return
        shown = {one.id for one in listing.instances if one.state is not InstanceState.GONE}
        self._zombies = {one for one in self._zombies if self.world.cloud.machines[one].zombie}
        if any(one not in shown and self.world.hosts.host(one).serves for one in self._zombies):
            self._reach("machine gone in the listing, and its agent answers")

    def effect(self, what: str, machine: Machine) -> None:
        if what == "vanished":
            self._reach("machine deleted from outside")
        if what == "vanished" and machine.zombie:
            self._zombies.add(machine.id)
        if what != "deleted":
            return
        if machine.extra:
            self._reach(
                "surplus machine deleted" if machine.launch != "lost-launch" else "machine deleted that no node knew"
            )
        state = machine.lost or (InstanceState.STARTING if self.world.now < machine.up_at else InstanceState.UP)
        point = _DELETED.get(state)
        if point is not None:
            self._reach(point)
        if machine.unreachable:
            self._reach("machine deleted while unreachable")

    # --- deaths ------------------------------------------------------------------------------------------------------

    def died(self, process: Process, cause: str) -> None:
        records = self.world.records
        launches = records.launches.values()
        if any(launch.state is LaunchState.SENT for launch in launches):
            self._reach("death between sent and bound")
        for beginning, point in (
            ("before create.request", "death before a create call"),
            ("effect create.request", "death with a create call done and not answered"),
            ("effect delete.request", "death with a delete call done and not answered"),
            ("before commit", "death before a commit"),
            ("effect commit", "death after a commit"),
        ):
            if cause.startswith(beginning):
                self._reach(point)
        if any(pool.metadata.deletion_timestamp is not None for pool in records.pools.values()):
            self._reach("death with a pool being deleted")
        for node in records.nodes.values():
            if node.metadata.deletion_timestamp is not None and node.status.provider_id:
                self._reach("death with a node being deleted")
            bootstrapped = find(node.status.conditions, NodeCondition.BOOTSTRAPPED)
            if bootstrapped is not None and bootstrapped.reason is Reason.BOOTSTRAPPING:
                self._reach("death during a bootstrap")
        if self.world.work.holds_any:
            self._reach("death with work leased")
        if process.calls < 10:
            self._reach("death right after a start")

    def agent_welcomed(self, node_uid: str, instance_id: str) -> None:
        operator = self.world.operator
        number = operator.process.number if operator is not None else 0
        if any(uid == node_uid and before != number for uid, before in self._ready):
            self._reach("agent back at a new operator")
        self._ready.add((node_uid, number))

    def drained(self) -> None:
        if any(machine.owner == FOREIGN for machine in self.world.cloud.alive.values()):
            self._reach("foreign machine alive in the end")
