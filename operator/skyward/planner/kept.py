"""The phase of a failed node whose instance is kept for a look: out of service, otherwise left as it is."""

from __future__ import annotations

from skyward.api import NodeCondition, Reason
from skyward.api.meta import KEEP_ON_FAILURE
from skyward.facts import Decision, DecisionKind
from skyward.planner.case import Case
from skyward.planner.plans import Cordon, NodePlan, Wait
from skyward.planner.starting import asked_for
from skyward.planner.updates import false

RULE = "keep-on-failure"


def plan_kept(case: Case) -> NodePlan:
    """Nothing is done to it but that it takes no work, and that its provider is asked for it when listings lack it."""
    status = case.node.status
    cost = f"it costs {status.hourly_cost} $/h; " if status.hourly_cost not in ("", "0") else ""
    failure = status.failure.splitlines()[0].rstrip(".")
    message = (
        f"instance {status.provider_id} is kept for a look: {cost}remove the annotation {KEEP_ON_FAILURE} "
        f"or delete the node to end it. It failed: {failure}"
    )
    updates = (false(NodeCondition.READY, Reason.KEPT_ON_FAILURE, message),)
    held = (Decision(DecisionKind.HOLD, RULE, Reason.KEPT_ON_FAILURE, message),)
    if not case.node.spec.unschedulable and not case.is_paused:
        return NodePlan(Cordon("it failed and takes no new work"), updates, decisions=held)
    look_s = max(case.rules.visibility_s, 1.0) if case.instance is None else None
    return asked_for(case, NodePlan(Wait(), updates, look_s, held))
