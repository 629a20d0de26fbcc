"""The agent phase: from its first call home on. While it answers the node is judged by what it says; when it falls silent
it gets a short grace, then is started again a few times, and then the node is given up."""

from __future__ import annotations

from skyward.api import NodeCondition, Reason, Status
from skyward.facts import AgentSession, BootstrapState, InstanceState
from skyward.planner.case import Case, later
from skyward.planner.health import OF_THE_CHECK, is_for_repair, judge_health, patience_s, unfitness
from skyward.planner.notices import announcement, notice_of
from skyward.planner.places import since
from skyward.planner.plans import ConditionUpdate, Cordon, NodePlan, NodeStep, RunBootstrap, Wait
from skyward.planner.starting import bootstrap_failed, doing, launched
from skyward.planner.updates import false, true, unknown

_NOT_READY_SINCE = ((NodeCondition.READY, Status.FALSE), (NodeCondition.BOOTSTRAPPED, Status.TRUE))
AT_WORK = frozenset({BootstrapState.CONNECTING, BootstrapState.RUNNING})


# --- the agent answers -------------------------------------------------------------------------------------------


def plan_connected(case: Case, session: AgentSession) -> NodePlan:
    """An agent that is connected needs no bootstrap, also after an operator restart: only its tunnel must be held."""
    arrived = (
        launched(case),
        true(NodeCondition.BOOTSTRAPPED, Reason.BOOTSTRAPPED),
        true(NodeCondition.REGISTERED, Reason.REGISTERED, f"agent {session.version} has called home"),
        judge_health(case, session),
    )
    step = _cordon(case) or _hold_tunnel(case)
    if case.instance is not None and case.instance.state is InstanceState.LEAVING:
        return NodePlan(step, (*arrived, false(NodeCondition.READY, Reason.INTERRUPTED, "its instance is going away")))
    unfit = unfitness(case, session)
    if unfit is None:
        initialized = true(NodeCondition.INITIALIZED, Reason.INITIALIZED)
        return NodePlan(step, (*arrived, initialized, true(NodeCondition.READY, Reason.READY)))
    return _unfit(case, session, unfit, step, arrived)


def _cordon(case: Case) -> NodeStep | None:
    """A machine that will be taken away gets no new work from now on; its pool makes it leave."""
    notice = notice_of(case.observed)
    if notice is None or case.node.spec.unschedulable or case.is_paused:
        return None
    return Cordon(announcement(case.observed, notice))


def _hold_tunnel(case: Case) -> NodeStep:
    if case.lacks_tunnel and case.is_reachable and not case.is_paused:
        return RunBootstrap(restart=False, message="opening the agent's tunnel again")
    return Wait()


def _unfit(
    case: Case,
    session: AgentSession,
    unfit: tuple[Reason, str],
    step: NodeStep,
    arrived: tuple[ConditionUpdate, ...],
) -> NodePlan:
    """Connected and not ready. For the first time it counts from the registration, later from when it stopped being ready."""
    reason, message = unfit
    if case.was_ready:
        # The silence before its agent was started again does not count.
        since_s = min(case.waited_s(type_, status) for type_, status in _NOT_READY_SINCE)
        if _is_just_back(case, session, reason):
            back = unknown(NodeCondition.READY, Reason.AGENT_AWAITED, "its agent is back and has not said how it is")
            return NodePlan(step, (*arrived, back), later(session.since + case.rules.lease_s - case.now))
        updates = [*arrived, false(NodeCondition.READY, reason, message)]
        if is_for_repair(case, reason):
            return NodePlan(step, tuple(updates))
    else:
        since_s = case.waited_s(NodeCondition.REGISTERED, Status.TRUE)
        updates = [*arrived, false(NodeCondition.READY, reason, message)]
        updates.append(false(NodeCondition.INITIALIZED, reason, message))
    limit_s = patience_s(case, reason)
    back_s = case.now - session.since
    if since_s >= limit_s and back_s < case.rules.lease_s:
        return NodePlan(step, tuple(updates), later(case.rules.lease_s - back_s))  # it has only just come back
    if since_s >= limit_s:
        because = reason if reason in OF_THE_CHECK else Reason.TIMED_OUT
        return case.fail(because, f"its agent is connected but was not ready for {limit_s:g} s: {message}", *updates)
    return NodePlan(step, tuple(updates), later(limit_s - since_s))


def _is_just_back(case: Case, session: AgentSession, reason: Reason) -> bool:
    """After an operator restart: until its first word, or for one lease, nothing speaks against what it was before."""
    is_silent = reason in (Reason.REGISTERED, Reason.HEALTH_CHECK_PENDING)
    return (
        is_silent and not case.has(NodeCondition.READY, Status.FALSE) and case.now < session.since + case.rules.lease_s
    )


# --- the agent is silent -----------------------------------------------------------------------------------------


def plan_silent(case: Case) -> NodePlan:
    """It has called home before and is not connected now. After an operator restart nothing is wrong yet: the node stays
    Unknown for one lease while its agent comes back."""
    patience_s = _patience_left_s(case)
    silence = _silence(case, patience_s)
    if not case.is_reachable:
        return _unreachable(case, silence, patience_s)
    if case.lacks_tunnel:  # a new operator's, in a paused pool too: without it nothing could be observed
        return NodePlan(RunBootstrap(restart=False, message="opening the agent's tunnel again"), silence)
    if case.is_paused:
        return NodePlan(Wait(), silence)
    if patience_s > 0:
        return NodePlan(Wait(), silence, later(patience_s))
    state = case.observed.bootstrap.state
    if state is BootstrapState.HOST_KEY_MISMATCH:
        return bootstrap_failed(case)
    if state in AT_WORK:
        return _wait_for_restart(case, silence)
    if state is BootstrapState.DONE and not _has_waited_since_restart(case):
        back = true(NodeCondition.BOOTSTRAPPED, Reason.BOOTSTRAPPED, "the agent was started again")
        return NodePlan(Wait(), (*silence, back), case.rules.lease_s)
    return _restart(case, silence)


def _silent_since(case: Case) -> float:
    """No session means: not seen since this operator began."""
    began = case.rules.started_at
    return max(case.session.since, began) if case.session is not None else began


def _patience_left_s(case: Case) -> float:
    patience_s = case.rules.agent_grace_s if case.session is not None else case.rules.lease_s
    return _silent_since(case) + patience_s - case.now


def _silence(case: Case, patience_s: float) -> tuple[ConditionUpdate, ...]:
    """Silence proves nothing about the machine: its health is not known. Its readiness is, since nobody can give it work."""
    if case.session is None and patience_s > 0 and not case.has(NodeCondition.READY, Status.FALSE):
        message = "the operator was restarted and waits for the agent to come back"
        return (
            launched(case),
            unknown(NodeCondition.HEALTHY, Reason.AGENT_AWAITED, message),
            unknown(NodeCondition.READY, Reason.AGENT_AWAITED, message),
        )
    message = "its agent is not connected"
    return (
        launched(case),
        unknown(NodeCondition.HEALTHY, Reason.AGENT_LOST, message),
        false(NodeCondition.READY, Reason.AGENT_LOST, message),
    )


def _unreachable(case: Case, silence: tuple[ConditionUpdate, ...], patience_s: float) -> NodePlan:
    """There is no machine to log in to now: it is not visible, it starts again, or it is on its way out."""
    left_s = case.rules.launch_deadline_s - case.waited_s(NodeCondition.READY, Status.FALSE)
    if left_s <= 0 and case.instance is not None:
        message = (
            f"its agent is gone and instance {case.instance.id} did not come up again: it is {case.instance.state}"
        )
        return case.fail(Reason.AGENT_LOST, message, *silence)
    return NodePlan(Wait(), silence, later(patience_s if patience_s > 0 else max(left_s, 1.0)))


def _wait_for_restart(case: Case, silence: tuple[ConditionUpdate, ...]) -> NodePlan:
    begun = since(case.node, NodeCondition.BOOTSTRAPPED) if _is_restarting(case) else None
    left_s = max(begun or 0.0, _silent_since(case)) + case.rules.registration_deadline_s - case.now
    if left_s > 0:
        return NodePlan(Wait(), silence, later(left_s))
    message = f"its agent was lost and could not be started again within {case.rules.registration_deadline_s:g} s"
    return case.fail(Reason.AGENT_LOST, f"{message}, still {doing(case)}", *silence)


def _is_restarting(case: Case) -> bool:
    return case.has(NodeCondition.BOOTSTRAPPED, Status.FALSE)


def _has_waited_since_restart(case: Case) -> bool:
    """True when no restart was made for this silence, or the one that was made has had its time."""
    if case.node.status.restarts == 0:
        return True  # its times are whole seconds: they cannot tell what ended its start from what began its silence
    if _is_restarting(case):
        return False
    restarted_at = since(case.node, NodeCondition.BOOTSTRAPPED) or 0.0
    return restarted_at < int(_silent_since(case)) or case.now - restarted_at >= case.rules.lease_s


def _restart(case: Case, silence: tuple[ConditionUpdate, ...]) -> NodePlan:
    tried = _restarts_in_a_row(case)
    if tried >= case.rules.max_restarts:
        progress = case.observed.bootstrap
        evidence = "\n".join(part for part in (progress.message, progress.tail) if part)
        message = f"its agent was lost, and it had been started again {tried} times"
        return case.fail(Reason.AGENT_LOST, f"{message}\n{evidence}".strip(), *silence)
    message = f"starting the agent again, try {tried + 1} of {case.rules.max_restarts}"
    restarting = false(NodeCondition.BOOTSTRAPPED, Reason.BOOTSTRAPPING, message)
    step = RunBootstrap(restart=True, message=message, attempt=tried + 1)
    return NodePlan(step, (*silence, restarting), case.rules.registration_deadline_s)


def _restarts_in_a_row(case: Case) -> int:
    """None counts any more once the agent kept running for an hour after it was started again."""
    if _is_restarting(case):
        return case.node.status.restarts
    ran_s = _silent_since(case) - (since(case.node, NodeCondition.BOOTSTRAPPED) or 0.0)
    return case.node.status.restarts if ran_s < case.rules.well_s else 0
