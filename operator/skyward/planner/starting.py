"""The instance phase: from a bound instance to an agent that has called home once."""

from __future__ import annotations

from dataclasses import replace

from skyward.api import NodeCondition, Reason, Status
from skyward.facts import BootstrapState, Instance, InstanceState
from skyward.planner.case import Case, later
from skyward.planner.plans import AskForInstance, ConditionUpdate, FailNode, NodePlan, RunBootstrap, Wait
from skyward.planner.proof import Absence, absence
from skyward.planner.updates import false, true, unknown


def lost(case: Case) -> NodePlan | None:
    """The instance will never serve again: the provider says so, or it is proved that it is not there any more."""
    instance = case.instance
    if instance is None:
        if case.is_connected or absence(case) is not Absence.PROVED:
            return None  # an agent that answers stands above a listing that does not show its machine
        silent = unknown(NodeCondition.HEALTHY, Reason.INSTANCE_LOST, _no_longer_has(case))
        return case.fail(Reason.INSTANCE_LOST, _no_longer_has(case), silent)
    if not instance.state.is_lost:
        return None
    because = f": {instance.message}" if instance.message else ""
    if instance.state is InstanceState.PREEMPTED:
        return case.fail(Reason.INTERRUPTED, f"{instance.provider} took instance {instance.id} away{because}")
    reason = Reason.INSTANCE_FAILED if instance.state is InstanceState.FAILED else Reason.INSTANCE_LOST
    return case.fail(reason, f"instance {instance.id} is {instance.state}{because}")


def asked_for(case: Case, plan: NodePlan) -> NodePlan:
    """The same plan; where it only waits for an instance that listings lack, its provider is asked for that very one."""
    if not isinstance(plan.step, Wait) or case.is_connected or absence(case) is not Absence.UNASKED:
        return plan
    message = f"no listing of {case.node.status.provider} shows instance {_id(case)}: asking for it by its id"
    return replace(plan, step=AskForInstance(message))


def _no_longer_has(case: Case) -> str:
    return f"{case.node.status.provider} no longer has instance {_id(case)}"


def launched(case: Case) -> ConditionUpdate:
    return true(NodeCondition.LAUNCHED, Reason.LAUNCHED, f"it has instance {_id(case)} of {case.node.status.provider}")


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
    tries = case.rules.max_restarts + 1
    waited_s = case.waited_s(NodeCondition.BOOTSTRAPPED, Status.TRUE)
    left_s = case.rules.registration_deadline_s / tries - waited_s
    if left_s > 0:
        return NodePlan(Wait(), updates, later(left_s))
    attempt = case.node.status.restarts + 1
    if attempt >= tries or waited_s >= case.rules.registration_deadline_s:
        message = f"its agent did not call home within {case.rules.registration_deadline_s:g} s, in {attempt} starts"
        return case.fail(Reason.TIMED_OUT, message, *updates)
    # It may have died before its first word. One that lives is not disturbed: a second start ends at once.
    message = f"starting the agent again, try {attempt} of {case.rules.max_restarts}: it has not called home"
    step = RunBootstrap(restart=True, message=message, attempt=attempt)
    return NodePlan(step, (launched(case), *bootstrapping(case, message)))


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
