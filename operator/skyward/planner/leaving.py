"""The way out: resolve what may exist, stop taking work, wait for what runs, delete, and prove that it is gone.

A node that failed, whose instance is lost or whose pool is deleted does not wait for its work. Nothing is deleted, and
nothing counts as gone, while there is no complete listing.
"""

from __future__ import annotations

from dataclasses import replace

from skyward.api import NodeCondition, Reason, Status, to_time
from skyward.api.quantities import parse_duration
from skyward.facts import Decision, DecisionKind, InstanceState, LaunchState
from skyward.planner.case import Case, later
from skyward.planner.launching import UNRESOLVED, bind, resolve, shows_instance
from skyward.planner.notices import SPARE_S, notice_of
from skyward.planner.places import since
from skyward.planner.plans import AskForInstance, ConditionUpdate, Cordon, Finish, NodePlan, Terminate, Wait
from skyward.planner.proof import Absence, absence, shown_at
from skyward.planner.updates import false, true

FIRST_LOOK_S = 2.0
SLOWEST_LOOK_S = 30.0
OVERDUE_S = 900.0
LEAVING_PATIENCE_S = 60.0
"""A provider that says it is deleting is not asked again for so long."""


def plan_leaving(case: Case) -> NodePlan:
    if not case.is_bound:
        return _without_instance(case)
    drained = _drain(case)
    if drained is not None:
        return drained
    return _terminate(case)


# --- never bound -------------------------------------------------------------------------------------------------


def _without_instance(case: Case) -> NodePlan:
    launch = case.launch
    if launch is None:
        return _finish("it was never launched") if not case.node.status.launch else _finish_without_record(case)
    if launch.state in UNRESOLVED:
        return resolve(case, launch)
    if shows_instance(case, launch):
        return bind(launch)
    why = {
        LaunchState.PREPARED: "its create call was never sent",
        LaunchState.REJECTED: "the provider refused its launch",
        LaunchState.ABSENT: "its launch made nothing",
    }
    return _finish(why.get(launch.state, "its launch had no instance left for it"))


def _finish_without_record(case: Case) -> NodePlan:
    """The launch's record is missing: what it may have made must have had the time to show."""
    listed_at = case.observed.listed_at
    if listed_at is not None and listed_at >= _leaving_since(case) + case.rules.visibility_s:
        return _finish("the record of its launch is missing, and no instance is bound to it")
    return NodePlan(Wait(), (), later(case.rules.visibility_s))


# --- drain -------------------------------------------------------------------------------------------------------


def _drain(case: Case) -> NodePlan | None:
    """What must still happen before the instance may be deleted; None when nothing must."""
    busy = case.observed.held > 0
    if not _drains(case) or not (busy or case.is_connected):
        return None
    if not case.node.spec.unschedulable:
        message = "the node is leaving and takes no new work"
        return NodePlan(Cordon(message), (_not_ready(Reason.DRAINING, message),))
    left_s = _drain_deadline(case) - case.now
    if not busy or left_s <= 0:
        return None
    message = "waiting for its running tasks to end"
    draining = false(NodeCondition.DRAINED, Reason.DRAINING, message)
    until = (("deadline", to_time(_drain_deadline(case)).isoformat()),)
    waits = Decision(DecisionKind.WAIT, "drain", Reason.DRAINING, message, until)
    return NodePlan(Wait(), (_not_ready(Reason.DRAINING, message), draining), later(left_s), (waits,))


def _drains(case: Case) -> bool:
    if case.node.status.failure or case.pool_is_leaving:
        return False
    return not (case.instance is not None and case.instance.state.is_lost)


def _leaving_since(case: Case) -> float:
    deleted = case.node.metadata.deletion_timestamp
    return case.now if deleted is None else deleted.timestamp()


def _drain_deadline(case: Case) -> float:
    """When it is over with waiting; before that where its provider announced to take the instance."""
    patience_s = parse_duration(case.pool.spec.drain_timeout) if case.pool is not None else 0.0
    notice = notice_of(case.observed)
    deadline = _leaving_since(case) + patience_s
    return deadline if notice is None else min(deadline, notice.at - SPARE_S)


def _drained(case: Case) -> ConditionUpdate:
    if case.observed.held == 0:
        return true(NodeCondition.DRAINED, Reason.DRAINED)
    if _drains(case):
        return false(NodeCondition.DRAINED, Reason.DRAIN_TIMED_OUT, "its tasks did not end in time and are stopped")
    return false(NodeCondition.DRAINED, Reason.TERMINATING, "its tasks are stopped at once")


# --- deletion ----------------------------------------------------------------------------------------------------


def _terminate(case: Case) -> NodePlan:
    """Ask, and ask again while a newer listing still shows it. At least once for every bound node, whatever is listed: it
    also takes back the node's work and sends its agent away."""
    listed_at = case.observed.listed_at
    asked_at = since(case.node, NodeCondition.TERMINATING) if case.has(NodeCondition.TERMINATING, Status.TRUE) else None
    if listed_at is None:
        return _waiting(case, SLOWEST_LOOK_S, asked=asked_at is not None)
    if asked_at is None:
        return _ask(case, FIRST_LOOK_S)
    known = absence(case)
    if known is Absence.PROVED:
        return _finish("its instance is proved gone")
    wait_s = min(max((case.now - asked_at) / 2, FIRST_LOOK_S), SLOWEST_LOOK_S)
    if known is Absence.UNASKED:
        plan = _waiting(case, wait_s, asked=True)
        message = f"no listing of {case.node.status.provider} shows instance {case.node.status.provider_id} any more"
        return replace(plan, step=AskForInstance(message))
    if case.instance is None and shown_at(case.observed.looked_up) >= asked_at + 1.0:
        return _ask(case, wait_s)  # listings lack it, and yet its provider knows it
    if case.instance is None or listed_at < asked_at + 1.0:  # what was listed says nothing about the request yet
        return _waiting(case, wait_s, asked=True)
    if case.instance.state is InstanceState.LEAVING and case.now < asked_at + LEAVING_PATIENCE_S:
        return _waiting(case, wait_s, asked=True)
    return _ask(case, wait_s)


def _ask(case: Case, wait_s: float) -> NodePlan:
    message = f"deleting instance {case.node.status.provider_id}"
    terminating = _terminating(case)
    updates = (_not_ready(Reason.TERMINATING, message), _drained(case), terminating)
    return NodePlan(Terminate(message), updates, wait_s, _until_proved(case))


def _waiting(case: Case, wait_s: float, *, asked: bool) -> NodePlan:
    message = f"deleting instance {case.node.status.provider_id}"
    terminating = (_terminating(case),) if asked else ()
    updates = (_not_ready(Reason.TERMINATING, message), *terminating)
    return NodePlan(Wait(), updates, wait_s, _until_proved(case))


def _until_proved(case: Case) -> tuple[Decision, ...]:
    inputs = (("instance", case.node.status.provider_id), ("provider", case.node.status.provider))
    if case.observed.listed_at is not None:
        return (Decision(DecisionKind.WAIT, "until-gone", Reason.TERMINATING, _until_gone(case), inputs),)
    message = f"waiting for a complete listing of {case.node.status.provider}; nothing is deleted without one"
    return (Decision(DecisionKind.WAIT, "unsynced", Reason.NOT_SYNCED, message, inputs),)


def _terminating(case: Case) -> ConditionUpdate:
    """It is asked for as long as it takes; after a while a human should know what may still cost money."""
    asked_at = since(case.node, NodeCondition.TERMINATING) if case.has(NodeCondition.TERMINATING, Status.TRUE) else None
    if asked_at is None or case.now < asked_at + OVERDUE_S:
        return true(NodeCondition.TERMINATING, Reason.TERMINATING, _until_gone(case))
    message = (
        f"{_until_gone(case)}; its deletion was first asked for at {to_time(asked_at).isoformat()} and is asked for again "
        f"until it is gone; look at the provider: it may still cost {case.node.status.hourly_cost} $/h"
    )
    return true(NodeCondition.TERMINATING, Reason.DELETION_OVERDUE, message)


def _until_gone(case: Case) -> str:
    return f"waiting until {case.node.status.provider} no longer has instance {case.node.status.provider_id}"


def _finish(message: str) -> NodePlan:
    gone = false(NodeCondition.TERMINATING, Reason.GONE, message)
    return NodePlan(Finish(message), (_not_ready(Reason.GONE, message), gone))


def _not_ready(reason: Reason, message: str) -> ConditionUpdate:
    return false(NodeCondition.READY, reason, message)
