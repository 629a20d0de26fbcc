"""`plan_node`: the one next step of one node, its conditions, and when to look again."""

from __future__ import annotations

from skyward.api import NodeCondition, Pool, Reason, Status
from skyward.api.meta import DO_NOT_DISRUPT
from skyward.facts import Decision, DecisionKind, InstanceState, ObservedMarket, ObservedNode
from skyward.planner.annotations import is_asked
from skyward.planner.case import Case
from skyward.planner.decided import held_back
from skyward.planner.doubt import in_doubt
from skyward.planner.drift import Drift, Wanted
from skyward.planner.keeping import is_kept
from skyward.planner.kept import plan_kept
from skyward.planner.launching import UNRESOLVED, plan_launch, resolve
from skyward.planner.leaving import plan_leaving
from skyward.planner.notices import announcement, notice_of
from skyward.planner.places import is_gone
from skyward.planner.plans import ConditionUpdate, FailNode, NodePlan, Wait
from skyward.planner.rules import NodeRules
from skyward.planner.serving import plan_connected, plan_silent
from skyward.planner.starting import asked_for, lost, plan_instance
from skyward.planner.updates import drop, false, true, unknown

LIFECYCLE = (
    NodeCondition.LAUNCHED,
    NodeCondition.BOOTSTRAPPED,
    NodeCondition.REGISTERED,
    NodeCondition.INITIALIZED,
    NodeCondition.READY,
    NodeCondition.HEALTHY,
)
"""Present from the first pass on, as Unknown until something is known. Each stays true once it is, but `Ready` and
`Healthy`, and `Bootstrapped` while the agent is started again."""
_ORDER = {str(type_): place for place, type_ in enumerate(NodeCondition)}


def plan_node(
    observed: ObservedNode, pool: Pool | None, market: ObservedMarket, facts: NodeRules, now: float
) -> NodePlan:
    """`pool` is the node's pool as it is now; None when there is none. The record of a failed node is left alone."""
    if is_gone(observed.node):
        return NodePlan(Wait(), ())
    case = Case(observed, pool, market, facts, now)
    plan = _plan(case)
    if isinstance(plan.step, FailNode) and (observed.listed_at is None or case.is_paused):
        # Giving up leads to a replacement: not while the provider cannot be observed, nor in a pool that is paused.
        plan = NodePlan(Wait(), plan.conditions, decisions=(held_back(plan.step, paused=case.is_paused),))
    plan = in_doubt(case, plan)
    drift = _drift(case)
    decisions = (*plan.decisions, *_protected(case, drift))
    return NodePlan(plan.step, _conditions(case, drift, plan.conditions), plan.requeue_after_s, decisions)


def _plan(case: Case) -> NodePlan:
    if case.node.metadata.deletion_timestamp is not None:
        return plan_leaving(case)
    if case.node.status.failure and case.pool is not None and is_kept(case.observed, case.pool):
        return plan_kept(case)
    if case.node.status.failure or case.pool_is_leaving:
        return _wait_for_retirement(case)
    if not case.is_bound:
        return plan_launch(case)
    dead = lost(case)
    if dead is not None:
        return dead
    return asked_for(case, _live(case))


def _live(case: Case) -> NodePlan:
    """What its instance and its agent call for."""
    if case.session is not None and case.session.connected:
        return plan_connected(case, case.session)
    if case.session is not None or case.has(NodeCondition.REGISTERED, Status.TRUE):
        return plan_silent(case)
    if case.is_paused:
        return NodePlan(Wait(), ())
    return plan_instance(case)


def _wait_for_retirement(case: Case) -> NodePlan:
    """The pool's plan marks it as leaving; until then it begins nothing, but what a call made is found meanwhile."""
    launch = case.launch
    if not case.is_bound and launch is not None and launch.state in UNRESOLVED:
        return resolve(case, launch)
    return NodePlan(Wait(), ())


# --- conditions --------------------------------------------------------------------------------------------------


def _conditions(case: Case, drift: Drift | None, updates: tuple[ConditionUpdate, ...]) -> tuple[ConditionUpdate, ...]:
    """The phase's own updates in the order of a node's life, and those that no phase decides."""
    decided = {update.type: update for update in (*_observed(case), *_drifted(case, drift), *updates)}
    for type_ in LIFECYCLE:
        if type_ not in decided and case.condition(type_) is None:
            decided[type_] = unknown(type_, Reason.PENDING)
    return tuple(sorted(decided.values(), key=lambda update: _ORDER[update.type]))


def _observed(case: Case) -> list[ConditionUpdate]:
    updates: list[ConditionUpdate] = []
    if case.node.spec.unschedulable:
        updates.append(true(NodeCondition.CORDONED, Reason.CORDONED, "takes no new work"))
    elif case.condition(NodeCondition.CORDONED) is not None:
        updates.append(drop(NodeCondition.CORDONED))
    updates.extend(_drained(case))
    fingerprint = case.observed.bootstrap.host_key_fingerprint
    if fingerprint:
        updates.append(true(NodeCondition.HOST_KEY_VERIFIED, Reason.HOST_KEY_PINNED, fingerprint))
    updates.extend(_interrupted(case))
    return updates


def _drained(case: Case) -> list[ConditionUpdate]:
    """Of a cordoned node that stays; one that leaves says so itself."""
    if case.node.metadata.deletion_timestamp is not None:
        return []
    if not case.node.spec.unschedulable:
        return [] if case.condition(NodeCondition.DRAINED) is None else [drop(NodeCondition.DRAINED)]
    if case.observed.held:
        return [false(NodeCondition.DRAINED, Reason.DRAINING, "waiting for its running tasks to end")]
    return [true(NodeCondition.DRAINED, Reason.DRAINED, "nothing runs on it")]


def _drift(case: Case) -> Drift | None:
    seen = case.observed
    return None if case.pool is None else Wanted.of(case.pool, case.now).drift(case.node, seen.drift, seen.better)


def _protected(case: Case, drift: Drift | None) -> tuple[Decision, ...]:
    """Why its pool's roll-out leaves it out."""
    annotated = [case.node, *([case.pool] if case.pool is not None else [])]
    if drift is None or not any(is_asked(one.metadata.annotations, DO_NOT_DISRUPT) for one in annotated):
        return ()
    message = f"the annotation {DO_NOT_DISRUPT} keeps it, although it is to be replaced: {drift.message}"
    return (Decision(DecisionKind.HOLD, "do-not-disrupt", Reason.DO_NOT_DISRUPT, message),)


def _drifted(case: Case, drift: Drift | None) -> list[ConditionUpdate]:
    """What the pool's roll-out is about to replace, and why."""
    if drift is not None:
        return [true(NodeCondition.DRIFTED, drift.reason, drift.message)]
    return [] if case.condition(NodeCondition.DRIFTED) is None else [drop(NodeCondition.DRIFTED)]


def _interrupted(case: Case) -> list[ConditionUpdate]:
    """Only what we did not ask for is an interruption; what was announced and taken back before the node left is none."""
    if not case.is_bound or case.node.metadata.deletion_timestamp is not None:
        return []
    notice = notice_of(case.observed)
    if case.instance is not None and case.instance.state in (InstanceState.PREEMPTED, InstanceState.LEAVING):
        return [true(NodeCondition.INTERRUPTED, Reason.INTERRUPTED, "the provider takes its instance away")]
    if notice is not None:
        return [true(NodeCondition.INTERRUPTED, Reason.INTERRUPTED, announcement(case.observed, notice))]
    return [] if case.condition(NodeCondition.INTERRUPTED) is None else [drop(NodeCondition.INTERRUPTED)]
