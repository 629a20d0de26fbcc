"""The instance phase: from a bound instance to an agent that has called home once."""

from __future__ import annotations

from skyward.api import NodeCondition, Reason, Status
from skyward.facts import BootstrapState, Instance, InstanceState
from skyward.planner.case import Case, later
from skyward.planner.places import since
from skyward.planner.plans import ConditionUpdate, FailNode, NodePlan, RunBootstrap, Wait
from skyward.planner.updates import false, true


def lost(case: Case) -> NodePlan | None:
    """The instance will never serve again: the provider says so, or a complete listing proves that it is not there."""
    instance = case.instance
    if instance is None:
        if not is_proved_absent(case) or case.is_connected:
            return None  # an agent that answers stands above a listing that does not show its machine
        return case.fail(Reason.INSTANCE_LOST, f"{case.node.status.provider} no longer has instance {_id(case)}")
    if not instance.state.is_lost:
        return None
    because = f": {instance.message}" if instance.message else ""
    if instance.state is InstanceState.PREEMPTED:
        return case.fail(Reason.INTERRUPTED, f"{instance.provider} took instance {instance.id} away{because}")
    reason = Reason.INSTANCE_FAILED if instance.state is InstanceState.FAILED else Reason.INSTANCE_LOST
    return case.fail(reason, f"instance {instance.id} is {instance.state}{because}")


def is_proved_absent(case: Case) -> bool:
    """Not in a complete listing that began as long after the binding as a new instance may stay hidden. The binding's time
    is kept in whole seconds, so it may have been up to one second later than it says."""
    listed_at = case.observed.listed_at
    bound_at = since(case.node, NodeCondition.LAUNCHED) if case.has(NodeCondition.LAUNCHED, Status.TRUE) else None
    if case.instance is not None or listed_at is None or bound_at is None:
        return False
    sent_at = case.launch.sent_at if case.launch is not None else 0.0
    return listed_at >= max(bound_at + 1.0, sent_at) + case.rules.visibility_s


def launched(case: Case) -> ConditionUpdate:
    return true(NodeCondition.LAUNCHED, Reason.LAUNCHED, f"instance {_id(case)} of {case.node.status.provider}")


def plan_instance(case: Case) -> NodePlan:
    """For a node whose agent has never called home."""
    instance = case.instance
    if instance is None:
        return NodePlan(Wait(), (launched(case),), max(case.rules.visibility_s, 1.0))
    if instance.state is InstanceState.UP:
        return _bootstrap(case)
    return _wait_until_up(case, instance)


def _wait_until_up(case: Case, instance: Instance) -> NodePlan:
    sent_at = case.launch.sent_at if case.launch is not None else 0.0
    left_s = max(sent_at, case.rules.started_at) + case.rules.launch_deadline_s - case.now
    if left_s <= 0:
        message = f"instance {instance.id} was not up after {case.rules.launch_deadline_s:g} s: it is {instance.state}"
        return case.fail(Reason.TIMED_OUT, message, launched(case))
    ready = false(NodeCondition.READY, Reason.STARTING, f"instance {instance.id} is {instance.state}")
    return NodePlan(Wait(), (launched(case), ready), later(left_s))


# --- bootstrap ---------------------------------------------------------------------------------------------------


def _bootstrap(case: Case) -> NodePlan:
    match case.observed.bootstrap.state:
        case BootstrapState.IDLE:
            updates = (launched(case), *bootstrapping(case, "connecting to the instance"))
            return NodePlan(RunBootstrap(restart=False, message="bootstrapping the instance"), updates)
        case BootstrapState.CONNECTING | BootstrapState.RUNNING:
            return _wait_for_steps(case)
        case BootstrapState.DONE:
            return _wait_for_agent(case)
        case BootstrapState.FAILED | BootstrapState.HOST_KEY_MISMATCH:
            return bootstrap_failed(case)


def _wait_for_steps(case: Case) -> NodePlan:
    updates = (launched(case), *bootstrapping(case, doing(case)))
    left_s = case.rules.bootstrap_deadline_s - case.waited_s(NodeCondition.BOOTSTRAPPED, Status.FALSE)
    if left_s <= 0:
        message = f"the bootstrap was not done after {case.rules.bootstrap_deadline_s:g} s, still {doing(case)}"
        return case.fail(Reason.TIMED_OUT, message, *updates)
    return NodePlan(Wait(), updates, later(left_s))


def _wait_for_agent(case: Case) -> NodePlan:
    waiting = "the agent is started and has not called home yet"
    updates = (
        launched(case),
        true(NodeCondition.BOOTSTRAPPED, Reason.BOOTSTRAPPED),
        false(NodeCondition.REGISTERED, Reason.REGISTERING, waiting),
        false(NodeCondition.READY, Reason.REGISTERING, waiting),
    )
    left_s = case.rules.registration_deadline_s - case.waited_s(NodeCondition.BOOTSTRAPPED, Status.TRUE)
    if left_s <= 0:
        message = f"its agent did not call home within {case.rules.registration_deadline_s:g} s of its start"
        return case.fail(Reason.TIMED_OUT, message, *updates)
    return NodePlan(Wait(), updates, later(left_s))


def bootstrapping(case: Case, message: str) -> tuple[ConditionUpdate, ...]:
    return (
        false(NodeCondition.BOOTSTRAPPED, Reason.BOOTSTRAPPING, message),
        false(NodeCondition.READY, Reason.BOOTSTRAPPING, message),
    )


def bootstrap_failed(case: Case) -> NodePlan:
    """The same recipe on the same instance would fail again, and a host with another key is not ours to log in to."""
    progress = case.observed.bootstrap
    if progress.state is BootstrapState.HOST_KEY_MISMATCH:
        message = progress.message or "the host showed another key than the pinned one; nothing was sent to it"
        mismatch = false(NodeCondition.HOST_KEY_VERIFIED, Reason.HOST_KEY_MISMATCH, message)
        return case.fail(Reason.HOST_KEY_MISMATCH, message, launched(case), mismatch)
    step = f"bootstrap step {progress.step} failed" if progress.step else "the bootstrap failed"
    message = f"{step}: {progress.message}" if progress.message else step
    failed = false(NodeCondition.BOOTSTRAPPED, Reason.BOOTSTRAP_FAILED, message)
    plan = case.fail(Reason.BOOTSTRAP_FAILED, message, launched(case), failed)
    if not progress.tail:
        return plan
    return NodePlan(FailNode(Reason.BOOTSTRAP_FAILED, f"{message}\n{progress.tail}"), plan.conditions)


def doing(case: Case) -> str:
    progress = case.observed.bootstrap
    return f"running step {progress.step}" if progress.step else progress.message or "connecting to the instance"


def _id(case: Case) -> str:
    return case.node.status.provider_id
