"""`plan_node`: the one next step of one node, its conditions, and when to look again."""

from __future__ import annotations

from skyward.api import NodeCondition, Pool, Reason, Status, template_hash
from skyward.facts import InstanceState, ObservedMarket, ObservedNode
from skyward.planner.case import Case
from skyward.planner.launching import UNRESOLVED, plan_launch, resolve
from skyward.planner.leaving import plan_leaving
from skyward.planner.places import TEMPLATE_CHANGED, is_gone
from skyward.planner.plans import ConditionUpdate, FailNode, NodePlan, Wait
from skyward.planner.rules import NodeRules
from skyward.planner.serving import plan_connected, plan_silent
from skyward.planner.starting import lost, plan_instance
from skyward.planner.updates import drop, true, unknown

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
        plan = NodePlan(Wait(), plan.conditions)
    return NodePlan(plan.step, _conditions(case, plan.conditions), plan.requeue_after_s)


def _plan(case: Case) -> NodePlan:
    if case.node.metadata.deletion_timestamp is not None:
        return plan_leaving(case)
    if case.node.status.failure or case.pool_is_leaving:
        return _wait_for_retirement(case)
    if not case.is_bound:
        return plan_launch(case)
    dead = lost(case)
    if dead is not None:
        return dead
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


def _conditions(case: Case, updates: tuple[ConditionUpdate, ...]) -> tuple[ConditionUpdate, ...]:
    """The phase's own updates in the order of a node's life, and those that no phase decides."""
    decided = {update.type: update for update in (*_observed(case), *updates)}
    for type_ in LIFECYCLE:
        if type_ not in decided and case.condition(type_) is None:
            decided[type_] = unknown(type_, Reason.PENDING)
    order = list(NodeCondition)
    return tuple(sorted(decided.values(), key=lambda update: order.index(NodeCondition(update.type))))


def _observed(case: Case) -> list[ConditionUpdate]:
    updates: list[ConditionUpdate] = []
    if case.node.spec.unschedulable:
        updates.append(true(NodeCondition.CORDONED, Reason.CORDONED, "takes no new work"))
    elif case.condition(NodeCondition.CORDONED) is not None:
        updates.append(drop(NodeCondition.CORDONED))
    updates.extend(_drifted(case))
    fingerprint = case.observed.bootstrap.host_key_fingerprint
    if fingerprint:
        updates.append(true(NodeCondition.HOST_KEY_VERIFIED, Reason.HOST_KEY_PINNED, fingerprint))
    if _is_interrupted(case):
        updates.append(true(NodeCondition.INTERRUPTED, Reason.INTERRUPTED, "the provider takes its instance away"))
    return updates


def _drifted(case: Case) -> list[ConditionUpdate]:
    """What the pool's roll-out is about to replace, and why."""
    pool = case.pool
    if case.observed.drift:
        return [true(NodeCondition.DRIFTED, Reason.INSTANCE_DRIFTED, f"its instance changed: {case.observed.drift}")]
    if pool is not None and template_hash(pool.spec) != case.node.spec.template_hash:
        return [true(NodeCondition.DRIFTED, Reason.TEMPLATE_CHANGED, TEMPLATE_CHANGED)]
    return [] if case.condition(NodeCondition.DRIFTED) is None else [drop(NodeCondition.DRIFTED)]


def _is_interrupted(case: Case) -> bool:
    """Only what we did not ask for is an interruption."""
    states = (InstanceState.PREEMPTED, InstanceState.LEAVING)
    return (
        case.is_bound
        and case.node.metadata.deletion_timestamp is None
        and case.instance is not None
        and case.instance.state in states
    )
