"""Repair: unhealthy nodes are replaced a few at a time, and none while too many are unhealthy at once.

A repair takes a node that still runs out of service on evidence: it is retired, so it is drained within the pool's patience,
and another takes its slot. It is under way until that one serves. What was repaired stays on record for an hour: after three
such repairs each further one waits longer, until an hour went by without any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skyward.api import Node, NodeCondition, Pool, Reason, Status, find
from skyward.api.quantities import resolve_share
from skyward.facts import Decision, DecisionKind, Inputs, ObservedPool
from skyward.planner.endings import is_repaired, repaired_at
from skyward.planner.failures import Failures
from skyward.planner.health import due_at, evidence
from skyward.planner.keeping import MOST_KEPT, asks_to_keep, has_instance, keep
from skyward.planner.memory import REPAIR_MEMORY_S
from skyward.planner.notices import notice_of, plan_departure
from skyward.planner.places import Member, Place
from skyward.planner.plans import KeepNode, RetireNode

RULE = "repair"
MAX_IN_FLIGHT = 1
UNHEALTHY_LIMIT = "40%"
"""Of a pool without a health check of its own."""
FREE_REPAIRS = 3
FIRST_DELAY_S = 300.0
LONGEST_DELAY_S = 1800.0
_NAMED = 8
"""So many nodes are named in one sentence."""
_STANDING = (Place.READY, Place.PENDING, Place.UNSURE)


@dataclass(frozen=True, slots=True)
class Sick:
    member: Member
    why: str
    due_at: float
    may_stay: bool = True
    """There is an instance to look at."""


@dataclass(frozen=True, slots=True)
class Repairs:
    """What repair does with a pool now, and what holds it."""

    actions: tuple[RetireNode | KeepNode, ...] = ()
    sick: tuple[Sick, ...] = ()
    """Unhealthy nodes that stand, those that are retired now included."""
    under_way: tuple[str, ...] = ()
    """Keys of nodes that leave because they were unhealthy."""
    blocked: str = ""
    """Why a human is asked before any more are repaired; empty when none has to be."""
    decisions: tuple[Decision, ...] = ()
    look_at: float | None = None
    """When time alone allows more."""

    @property
    def summary(self) -> str:
        """Who is unhealthy and not repaired yet, by name."""
        names = [_name(one) for one in self.sick]
        names += [key.rpartition("/")[2] for key in self.under_way]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        why = f": {self.sick[0].why}" if self.sick else ""
        return f"unhealthy nodes that are replaced: {', '.join(names[:_NAMED])}{more}{why}"

    def done_to(self, members: Sequence[Member]) -> Sequence[Member]:
        """The members once this is done: what it takes holds no slot any more."""
        if not self.actions:
            return members
        places = {one.node: Place.KEPT if isinstance(one, KeepNode) else Place.LEAVING for one in self.actions}
        return tuple(replace(member, place=places.get(member.key, member.place)) for member in members)


NO_REPAIRS = Repairs()


def plan_repairs(observed: ObservedPool, members: Sequence[Member], failures: Failures, now: float) -> Repairs:
    """Announced losses leave at once; the unhealthy as they may."""
    pool = observed.pool
    standing = {member.key: member for member in members if member.place in _STANDING}
    leaving: list[RetireNode] = []
    sick: list[Sick] = []
    for one in observed.nodes:
        member = standing.get(one.node.key)
        if member is None:
            continue
        notice, why = notice_of(one), evidence(one, pool)
        if notice is not None:
            leaving.append(plan_departure(one, notice))
        elif why:
            sick.append(Sick(member, why, due_at(one), has_instance(one)))
    leaving.sort(key=lambda action: action.node)
    sick.sort(key=lambda one: (one.member.slot, one.member.key))
    under_way = tuple(member.key for member in members if member.place is Place.LEAVING and is_repaired(member.node))
    if not sick:
        return Repairs(tuple(leaving), under_way=under_way)
    return _ward(pool, members, failures, now, tuple(leaving), tuple(sick), under_way)


def _ward(
    pool: Pool,
    members: Sequence[Member],
    failures: Failures,
    now: float,
    leaving: tuple[RetireNode, ...],
    sick: tuple[Sick, ...],
    under_way: tuple[str, ...],
) -> Repairs:
    limit = limit_of(pool)
    counts: Inputs = (("unhealthy", len(sick)), ("unhealthy_limit", limit), ("nodes", pool.spec.nodes))
    if len(sick) > limit:
        message = (
            f"{len(sick)} of {pool.spec.nodes} nodes are unhealthy, and none is repaired while more than {limit} are: "
            "what they share may be at fault, or the check itself. "
            f"Correct it, or raise healthCheck.unhealthyLimit. The first, {_name(sick[0])}: {sick[0].why.rstrip('.')}"
        )
        held = Decision(DecisionKind.HOLD, "unhealthy-limit", Reason.REMEDIATION_BLOCKED, message, counts)
        return Repairs(leaving, sick, under_way, message, (held,))
    attended = tuple(one for one in sick if one.member.node.spec.unschedulable)
    due = tuple(one for one in sick if one.due_at <= now and one not in attended)
    decisions = [_attended(one) for one in attended]
    look_at = min((one.due_at for one in sick if one.due_at > now), default=None)
    most, coming = _in_flight(pool), _count_coming(members, sick)
    hold, until = _hold(members, failures, coming, now)
    if hold is not None and due:
        decisions.append(hold)
        look_at = min((at for at in (look_at, until) if at is not None), default=None)
        return Repairs(leaving, sick, under_way, "", tuple(decisions), look_at)
    busy = max(len(under_way), coming)
    room = max(0, most - busy)
    inputs: Inputs = (*counts, ("in_flight", busy), ("max_in_flight", most))
    free = max(0, MOST_KEPT - sum(member.place is Place.KEPT for member in members))
    actions = tuple(_repair(pool, one, inputs, may_keep=number < free) for number, one in enumerate(due[:room]))
    if due[room:]:
        decisions.append(_waiting(due[room:], inputs, most))
    return Repairs((*leaving, *actions), sick, under_way, "", tuple(decisions), look_at)


def _repair(pool: Pool, one: Sick, inputs: Inputs, *, may_keep: bool) -> RetireNode | KeepNode:
    if may_keep and one.may_stay and asks_to_keep(pool, one.member.node):
        return keep(one.member.node, one.why)
    return RetireNode(one.member.key, Reason.UNHEALTHY, one.why, rule=RULE, inputs=inputs)


# --- what holds a repair -----------------------------------------------------------------------------------------


def limit_of(pool: Pool) -> int:
    check = pool.spec.health_check
    return resolve_share(check.unhealthy_limit if check else UNHEALTHY_LIMIT, pool.spec.nodes, round_up=True)


def _in_flight(pool: Pool) -> int:
    return pool.spec.health_check.max_in_flight if pool.spec.health_check else MAX_IN_FLIGHT


def _count_coming(members: Sequence[Member], sick: Sequence[Sick]) -> int:
    """Nodes that come up: a repair is not over before another node serves. One that its provider refuses to make does not
    count: it may wait for ever, and the unhealthy ones with it."""
    ill = {one.member.key for one in sick}
    return sum(
        member.place is Place.PENDING and member.key not in ill and not _is_refused(member.node) for member in members
    )


def _is_refused(node: Node) -> bool:
    """Its launch waits for something else than the provider's answer."""
    launched = find(node.status.conditions, NodeCondition.LAUNCHED)
    waits_well = (Reason.PENDING, Reason.LAUNCHING, Reason.OUTCOME_UNKNOWN)
    return launched is not None and launched.status is not Status.TRUE and launched.reason not in waits_well


def _hold(
    members: Sequence[Member], failures: Failures, coming: int, now: float
) -> tuple[Decision | None, float | None]:
    """Why nothing may be repaired now, and until when."""
    if failures.allowance(coming, now) == 0:
        message = f"new nodes fail, so unhealthy ones are not replaced yet: {failures.message}"
        inputs: Inputs = (("failures", failures.consecutive),)
        return Decision(DecisionKind.HOLD, "repair-slow-start", Reason.BACKING_OFF, message, inputs), (
            failures.hold_until if failures.hold_until is not None and failures.hold_until > now else None
        )
    times = sorted(
        at for member in members if (at := repaired_at(member.node)) is not None and at > now - REPAIR_MEMORY_S
    )
    if len(times) < FREE_REPAIRS:
        return None, None
    until = times[-1] + min(FIRST_DELAY_S * 2.0 ** (len(times) - FREE_REPAIRS), LONGEST_DELAY_S)
    if now >= until:
        return None, None
    message = f"{len(times)} nodes were repaired within an hour, so the next repair waits"
    return Decision(DecisionKind.WAIT, "repair-backoff", Reason.BACKING_OFF, message, (("repairs", len(times)),)), until


def _attended(one: Sick) -> Decision:
    message = f"it is unhealthy, and stays as it is because a user cordoned it: {one.why}"
    return Decision(DecisionKind.HOLD, "cordoned", Reason.CORDONED, message, target=one.member.key)


def _waiting(due: Sequence[Sick], inputs: Inputs, most: int) -> Decision:
    names = ", ".join(_name(one) for one in due[:_NAMED])
    message = f"unhealthy nodes that wait because at most {most} may be under repair at once: {names}"
    return Decision(DecisionKind.HOLD, "repair-in-flight", Reason.UNHEALTHY, message, inputs)


def _name(one: Sick) -> str:
    return one.member.node.metadata.name
