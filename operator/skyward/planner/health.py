"""Health: what speaks for a node and against it, and when it may take work.

Two signals at least are heard: the provider's word on the instance and the agent's connection, and where the pool has one
its health check, which the agent runs. A node is unhealthy only on evidence: the check failed often enough in a row, or the
agent itself says what is wrong. A signal that is missing, or that another one contradicts, makes it unknown, never unhealthy.
"""

from __future__ import annotations

from skyward.api import HealthCheckSpec, NodeCondition, Pool, Reason, Status
from skyward.api.quantities import parse_duration
from skyward.facts import AgentSession, CheckState, ObservedNode
from skyward.planner.case import Case
from skyward.planner.places import since, was_ready
from skyward.planner.plans import ConditionUpdate
from skyward.planner.updates import false, true, unknown

OF_THE_CHECK = (Reason.HEALTH_CHECK_PENDING, Reason.HEALTH_CHECK_FAILED)
PROBLEM_PATIENCE_S = 600.0
"""What an agent complains of may pass: only after so long is its node repaired."""


def judge_health(case: Case, session: AgentSession) -> ConditionUpdate:
    """Of a node whose agent is connected."""
    if session.problem:
        return false(NodeCondition.HEALTHY, Reason.NODE_FAILED, session.problem)
    if _check(case.pool) is not None and session.check is CheckState.FAILING:
        return false(NodeCondition.HEALTHY, Reason.HEALTH_CHECK_FAILED, _failing(session))
    if case.observed.missing_since is not None:
        status = case.node.status
        message = f"its agent answers, but {status.provider} does not show instance {status.provider_id}"
        return unknown(NodeCondition.HEALTHY, Reason.CONFLICT, message)
    if _check(case.pool) is not None and session.check is CheckState.UNKNOWN:
        return unknown(NodeCondition.HEALTHY, Reason.HEALTH_CHECK_PENDING, "its health check has not passed yet")
    return true(NodeCondition.HEALTHY, Reason.HEARTBEATING)


def unfitness(case: Case, session: AgentSession) -> tuple[Reason, str] | None:
    """Why a connected node may take no work; None when it may. A node that is ready keeps being so while a check that was only
    just given to it has no verdict."""
    if session.problem:
        return Reason.NODE_FAILED, session.problem
    if not session.ready:
        return Reason.REGISTERED, "the agent is getting ready for work"
    if _check(case.pool) is None or session.check is CheckState.PASSING:
        return None
    if session.check is CheckState.FAILING:
        return Reason.HEALTH_CHECK_FAILED, _failing(session)
    if case.has(NodeCondition.READY, Status.TRUE):
        return None
    return Reason.HEALTH_CHECK_PENDING, "its health check has not passed yet"


def patience_s(case: Case, reason: Reason) -> float:
    """How long a connected node may stay unfit for this reason before it is given up."""
    check = _check(case.pool)
    if check is not None and reason in OF_THE_CHECK:
        return parse_duration(check.startup_timeout)
    return case.rules.initialization_deadline_s


def is_for_repair(case: Case, reason: Reason) -> bool:
    """A node that served is not given up on this evidence by its own plan: its pool repairs as many as it may at once."""
    return case.was_ready and reason in (Reason.NODE_FAILED, Reason.HEALTH_CHECK_FAILED)


def evidence(observed: ObservedNode, pool: Pool) -> str:
    """What says that a node that served is unhealthy now; empty when nothing does."""
    session = observed.session
    if session is None or not session.connected or not was_ready(observed.node):
        return ""
    if session.problem:
        return session.problem
    if _check(pool) is not None and session.check is CheckState.FAILING:
        return _failing(session)
    return ""


def due_at(observed: ObservedNode) -> float:
    """From when on the evidence is enough for a repair. What passed before its agent connected to this operator does not
    count."""
    session = observed.session
    if session is None or not session.problem:
        return 0.0
    return max(since(observed.node, NodeCondition.READY) or 0.0, session.since) + PROBLEM_PATIENCE_S


def _failing(session: AgentSession) -> str:
    return f"its health check fails: {session.check_message or 'it gave no output'}"


def _check(pool: Pool | None) -> HealthCheckSpec | None:
    return None if pool is None else pool.spec.health_check
