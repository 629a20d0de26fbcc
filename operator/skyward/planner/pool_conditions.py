"""What a pool's conditions say, computed anew in every pass from its nodes and from what this pass will do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from skyward.api import NodeCondition, Pool, PoolCondition, Reason, Status, find
from skyward.facts import Hindrance
from skyward.planner.bounds import Availability, bounds
from skyward.planner.failures import Failures
from skyward.planner.holds import holds_of
from skyward.planner.market import NEEDS_A_HUMAN
from skyward.planner.places import Member, Place
from skyward.planner.plans import ConditionUpdate, NodeCounts
from skyward.planner.repair import NO_REPAIRS, Repairs
from skyward.planner.rollout import Moves
from skyward.planner.updates import drop, false, true, unknown

REFUSALS = (
    *NEEDS_A_HUMAN,
    Reason.INSUFFICIENT_CAPACITY,
    Reason.NO_OFFERING_FITS,
    Reason.LAUNCH_FAILED,
    Reason.BACKING_OFF,
)
NOT_BEGUN = (Reason.PAUSED, Reason.ON_DELETE, Reason.NOT_BEFORE)
"""A roll-out that waits for one of these does not go on."""
RETRY = "Edit the pool, or annotate it with skyward.dev/reconcile-requested-at and the current time to try again"


def count_members(members: Iterable[Member], available: Availability) -> NodeCounts:
    members = tuple(members)
    ready = [member for member in members if member.place is Place.READY]
    standing = [member for member in members if member.place.stands]
    return NodeCounts(
        nodes=sum(member.place is not Place.GONE for member in members),
        ready=len(ready),
        available=sum(available.holds(member) and not member.node.spec.unschedulable for member in ready),
        up_to_date=sum(not member.outdated for member in standing),
        pending=sum(member.place in (Place.PENDING, Place.UNSURE) for member in members),
        leaving=sum(member.place in (Place.LEAVING, Place.FAILED, Place.LOST) for member in members),
    )


@dataclass(frozen=True)
class Situation:
    """All that the conditions are made of. Several ask the same of all nodes: it is found once."""

    pool: Pool
    members: Sequence[Member]
    counts: NodeCounts
    failures: Failures
    moves: Moves
    unsynced: tuple[str, ...]
    doubt: str = ""
    blocked: Hindrance | None = None
    repairs: Repairs = NO_REPAIRS

    @property
    def deleting(self) -> bool:
        return self.pool.metadata.deletion_timestamp is not None

    @cached_property
    def outdated(self) -> int:
        return sum(member.outdated for member in self.members if member.place.stands)

    @property
    def drift(self) -> Reason:
        """Why nodes are outdated: the first reason that there is, the template's change before all others."""
        found = {member.drift.reason for member in self.members if member.drift is not None and member.place.stands}
        return min(found, key=lambda reason: (reason is not Reason.TEMPLATE_CHANGED, reason))

    @property
    def waits_for_user(self) -> bool:
        """The outdated nodes are the user's to replace: nothing is wrong with them."""
        return any(decision.reason is Reason.ON_DELETE for decision in self.moves.decisions)

    @property
    def wanted(self) -> int:
        return self.pool.spec.nodes

    @cached_property
    def is_idle(self) -> bool:
        """It wants no node and has none: whatever failed keeps it from nothing."""
        return not self.wanted and not any(member.place.stands for member in self.members)

    @cached_property
    def refusal(self) -> tuple[Reason, str] | None:
        """Why a provider refuses to make a node, of the first that waits for it."""
        for member in self.members:
            launched = find(member.node.status.conditions, NodeCondition.LAUNCHED)
            if member.place is Place.PENDING and launched is not None and launched.reason in REFUSALS:
                return launched.reason, launched.message
        return None

    @cached_property
    def limit(self) -> Hindrance | None:
        """The ceiling of the operator that keeps a node from being launched, as the first such node tells it."""
        for member in self.members:
            launched = find(member.node.status.conditions, NodeCondition.LAUNCHED)
            if member.place is Place.PENDING and launched is not None and launched.reason is Reason.CEILING_REACHED:
                return Hindrance("ceiling", launched.reason, launched.message)
        return None


def pool_conditions(situation: Situation) -> tuple[ConditionUpdate, ...]:
    stalled = _stalled(situation)
    return (
        _provider_ready(situation),
        _capacity(situation),
        _within_limits(situation),
        _nodes_ready(situation),
        _up_to_date(situation),
        _available(situation),
        _scaling_up(situation),
        _scaling_down(situation),
        _rolling_out(situation),
        _remediating(situation),
        _deleting(situation),
        _paused(situation),
        stalled,
        _ready(situation, stalled),
    )


def _provider_ready(at: Situation) -> ConditionUpdate:
    if at.unsynced:
        names = ", ".join(sorted(at.unsynced))
        message = f"there is no complete, fresh listing of {names}; nothing is made or removed until there is"
        return unknown(PoolCondition.PROVIDER_READY, Reason.NOT_SYNCED, message)
    return true(PoolCondition.PROVIDER_READY, Reason.PROVIDER_ANSWERS)


def _capacity(at: Situation) -> ConditionUpdate:
    if at.refusal is not None:
        reason, message = at.refusal
        says_nothing = reason is Reason.BACKING_OFF  # the provider did not even look
        return (unknown if says_nothing else false)(PoolCondition.CAPACITY_AVAILABLE, reason, message)
    if any(member.node.status.provider_id for member in at.members if member.place.stands):
        return true(PoolCondition.CAPACITY_AVAILABLE, Reason.CAPACITY_FOUND)
    return unknown(PoolCondition.CAPACITY_AVAILABLE, Reason.PENDING)


def _within_limits(at: Situation) -> ConditionUpdate:
    if at.limit is not None:
        return false(PoolCondition.WITHIN_LIMITS, at.limit.reason, at.limit.message)
    return true(PoolCondition.WITHIN_LIMITS, Reason.AS_DESIRED)


def _nodes_ready(at: Situation) -> ConditionUpdate:
    message = f"{at.counts.ready} of {at.wanted} nodes are ready"
    if at.counts.ready >= at.wanted:
        return true(PoolCondition.NODES_READY, Reason.AS_DESIRED, message)
    return false(PoolCondition.NODES_READY, Reason.TOO_FEW_NODES, f"{message}, coming up: {at.counts.pending}")


def _up_to_date(at: Situation) -> ConditionUpdate:
    if at.outdated:
        message = f"nodes that are still of an older template: {at.outdated}"
        return false(PoolCondition.NODES_UP_TO_DATE, at.drift, message)
    return true(PoolCondition.NODES_UP_TO_DATE, Reason.AS_DESIRED)


def _available(at: Situation) -> ConditionUpdate:
    floor = bounds(at.pool.spec).floor
    if at.counts.ready >= floor and (at.counts.ready or not at.wanted):
        return true(PoolCondition.AVAILABLE, Reason.AS_DESIRED)
    message = f"{at.counts.ready} of {at.wanted} nodes are ready, at least {max(floor, 1)} must be"
    return false(PoolCondition.AVAILABLE, Reason.TOO_FEW_NODES, message)


def _scaling_up(at: Situation) -> ConditionUpdate:
    standing = sum(member.place.stands for member in at.members)
    first_time = not at.outdated and not _disturbed(at) and at.counts.ready < at.wanted
    if first_time and not at.deleting:
        message = f"{standing + len(at.moves.create)} of {at.wanted} nodes exist, {at.counts.ready} are ready"
        return true(PoolCondition.SCALING_UP, Reason.TOO_FEW_NODES, message)
    return false(PoolCondition.SCALING_UP, Reason.AS_DESIRED)


def _scaling_down(at: Situation) -> ConditionUpdate:
    surplus = sum(action.reason is Reason.TOO_MANY_NODES for action in at.moves.retire)
    settled = not at.outdated and not at.deleting and at.counts.ready >= at.wanted
    leaving = at.counts.leaving if settled else 0
    if surplus or leaving:
        message = f"nodes that leave because they are more than wanted: {max(surplus, leaving)}"
        return true(PoolCondition.SCALING_DOWN, Reason.TOO_MANY_NODES, message)
    return false(PoolCondition.SCALING_DOWN, Reason.AS_DESIRED)


def _rolling_out(at: Situation) -> ConditionUpdate:
    if not at.outdated or at.deleting:
        return false(PoolCondition.ROLLING_OUT, Reason.AS_DESIRED)
    message = (
        f"{at.counts.up_to_date} of {at.wanted} nodes are of the current template, still to replace: {at.outdated}"
    )
    held = [decision for decision in at.moves.decisions if decision.reason in NOT_BEGUN]
    for decision in held:
        return false(PoolCondition.ROLLING_OUT, decision.reason, f"{message}; {decision.message}")
    waits = "".join(f"; {decision.message}" for decision in at.moves.decisions)
    return true(PoolCondition.ROLLING_OUT, at.drift, f"{message}{waits}")


def _disturbed(at: Situation) -> bool:
    broken = (Place.FAILED, Place.LOST, Place.UNSURE)
    ill = bool(at.repairs.sick or at.repairs.under_way)
    return ill or at.failures.consecutive > 0 or any(member.place in broken for member in at.members)


def _remediating(at: Situation) -> ConditionUpdate:
    if at.deleting or at.failures.stopped or at.is_idle or not _disturbed(at):
        return false(PoolCondition.REMEDIATING, Reason.AS_DESIRED)
    if at.failures.consecutive:
        message = (
            f"new nodes that failed in a row: {at.failures.consecutive}; one is tried again: {at.failures.message}"
        )
        return true(PoolCondition.REMEDIATING, Reason.BACKING_OFF, message)
    names = [member.node.metadata.name for member in at.members if member.place in (Place.FAILED, Place.LOST)]
    if names:
        return true(PoolCondition.REMEDIATING, Reason.NODE_LOST, f"{', '.join(names)} will be replaced")
    if at.repairs.blocked:
        return false(PoolCondition.REMEDIATING, Reason.REMEDIATION_BLOCKED, at.repairs.blocked)
    if at.repairs.sick or at.repairs.under_way:
        return true(PoolCondition.REMEDIATING, Reason.UNHEALTHY, at.repairs.summary)
    return true(PoolCondition.REMEDIATING, Reason.AGENT_LOST, "waiting for an agent to come back")


def _deleting(at: Situation) -> ConditionUpdate:
    if not at.deleting:
        return drop(PoolCondition.DELETING)
    message = f"nodes not yet proved gone: {at.counts.nodes}" if at.counts.nodes else "all nodes are gone"
    return true(PoolCondition.DELETING, Reason.POOL_DELETED, message)


def _paused(at: Situation) -> ConditionUpdate:
    if not at.pool.spec.paused or at.deleting:
        return drop(PoolCondition.PAUSED)
    return true(PoolCondition.PAUSED, Reason.PAUSED, "nothing is changed while spec.paused is true")


def _stalled(at: Situation) -> ConditionUpdate:
    if at.doubt:
        return true(PoolCondition.STALLED, Reason.LINEAGE_UNKNOWN, at.doubt)
    if at.deleting:
        return drop(PoolCondition.STALLED)
    for hold in holds_of(at.pool):
        return true(PoolCondition.STALLED, hold.reason, hold.message)
    if at.blocked is not None:
        return true(PoolCondition.STALLED, at.blocked.reason, at.blocked.message)
    if at.repairs.blocked:
        return true(PoolCondition.STALLED, Reason.REMEDIATION_BLOCKED, at.repairs.blocked)
    if at.failures.stopped and not at.is_idle:
        newest = at.failures.message.rstrip(".")
        message = f"no node of this template ever became ready; the newest failed: {newest}. {RETRY}"
        return true(PoolCondition.STALLED, Reason.TEMPLATE_FAILING, message)
    if at.refusal is not None and at.refusal[0] in NEEDS_A_HUMAN:
        return true(PoolCondition.STALLED, *at.refusal)
    return drop(PoolCondition.STALLED)


def _ready(at: Situation, stalled: ConditionUpdate) -> ConditionUpdate:
    """The sum: as many nodes as wanted, all of the current template, and nothing that needs a human."""
    message = f"{at.counts.ready} of {at.wanted} nodes are ready"
    if at.deleting:
        return false(PoolCondition.READY, Reason.POOL_DELETED, "the pool is being deleted")
    if stalled.status is Status.TRUE:
        return false(PoolCondition.READY, stalled.reason, f"{message}; {stalled.message}")
    if at.outdated:
        message += f", of an older template: {at.outdated}"
    if at.outdated and not at.waits_for_user:
        return false(PoolCondition.READY, at.drift, message)
    if at.counts.ready >= at.wanted:
        return true(PoolCondition.READY, Reason.AS_DESIRED, message)
    if at.limit is not None:
        return false(PoolCondition.READY, at.limit.reason, f"{message}; {at.limit.message}")
    if at.refusal is not None:
        return false(PoolCondition.READY, at.refusal[0], f"{message}; {at.refusal[1]}")
    return false(PoolCondition.READY, Reason.TOO_FEW_NODES, message)
