"""Silent is not dead: what a plan must not do, and not even say, while nobody can vouch for the opposite.

While a provider cannot be observed its silent nodes are Unknown, and so are those that fell silent together with too
many others. Neither is given up then.
"""

from __future__ import annotations

from dataclasses import replace

from skyward.api import NodeCondition, Reason, Status
from skyward.facts import Hindrance
from skyward.planner.case import Case
from skyward.planner.guards import hold
from skyward.planner.plans import ConditionUpdate, FailNode, NodePlan, Wait
from skyward.planner.updates import unknown

LOOK_S = 30.0


def in_doubt(case: Case, plan: NodePlan) -> NodePlan:
    """The plan of a node that stays, as it may be carried out now."""
    if case.node.metadata.deletion_timestamp is not None or case.node.status.failure or not case.is_bound:
        return plan
    blocked = case.observed.blocked
    if blocked is not None and isinstance(plan.step, FailNode) and _is_for_silence(case, plan.step):
        return NodePlan(Wait(), _doubted(plan.conditions, blocked), LOOK_S, (*plan.decisions, hold(blocked)))
    if case.observed.listed_at is None and not case.is_connected:
        return replace(plan, conditions=_doubted(plan.conditions, _unobserved(case)))
    return plan


def _is_for_silence(case: Case, step: FailNode) -> bool:
    return step.reason is Reason.AGENT_LOST or (step.reason is Reason.INSTANCE_LOST and case.instance is None)


def _doubted(updates: tuple[ConditionUpdate, ...], why: Hindrance) -> tuple[ConditionUpdate, ...]:
    """It may be ready for all that is known; whether it ever was is not in doubt."""
    return tuple(
        unknown(update.type, why.reason, why.message)
        if update.type == NodeCondition.READY and update.status is Status.FALSE and update.reason in _SILENT
        else update
        for update in updates
    )


_SILENT = (Reason.AGENT_LOST, Reason.INSTANCE_LOST)


def _unobserved(case: Case) -> Hindrance:
    message = f"there is no complete, fresh listing of {case.node.status.provider}, and its agent is not connected"
    return Hindrance("unsynced", Reason.NOT_SYNCED, message)
