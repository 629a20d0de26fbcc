"""What speaks for a node's health and against it, and when it may take work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, Reason, Status
from skyward.facts import CheckState, InstanceState, Notice, ObservedNode
from skyward.planner import Cordon, FailNode, NodePlan, NodeRules, RunBootstrap, Wait, plan_node
from tests.builders import (
    NOW,
    make_condition,
    make_instance,
    make_launch,
    make_market,
    make_node,
    make_pool,
    make_session,
    observe_node,
    ready_conditions,
    ready_node,
)

RULES = NodeRules(started_at=NOW - 100_000, has_token=True, visibility_s=0, absence_s=0, same_host=True)
CHECK = {"command": "true", "startupTimeout": "2m"}
CHECKED = make_pool(health_check=CHECK)
PLAIN = make_pool()


def plan(observed: ObservedNode, pool: Pool = CHECKED, now: float = NOW, rules: NodeRules = RULES) -> NodePlan:
    return plan_node(observed, pool, make_market(), rules, now)


def said(observed: ObservedNode, **fields: Any) -> ObservedNode:
    return replace(observed, session=make_session(observed.node, **fields))


def status_of(planned: NodePlan, type_: str) -> tuple[Status | None, Reason]:
    return next((one.status, one.reason) for one in planned.conditions if one.type == type_)


def starting(pool: Pool = CHECKED, **fields: Any) -> ObservedNode:
    """Its agent called home 60 seconds ago and the node was never ready."""
    conditions = [one for one in ready_conditions(at=NOW - 60) if one.type not in ("Initialized", "Ready", "Healthy")]
    node = make_node(pool, launch="launch-0", provider_id="instance-0", conditions=conditions)
    launch = make_launch([node], "launch-0", instances=["instance-0"])
    observed = observe_node(node, launch=launch, instance=make_instance("instance-0", "launch-0"))
    return said(observed, **fields)


@pytest.mark.parametrize(
    ("fields", "healthy", "ready"),
    [
        pytest.param(
            {"check": CheckState.PASSING}, (Status.TRUE, Reason.HEARTBEATING), (Status.TRUE, Reason.READY), id="passing"
        ),
        pytest.param(
            {"check": CheckState.FAILING, "check_message": "exit status 1"},
            (Status.FALSE, Reason.HEALTH_CHECK_FAILED),
            (Status.FALSE, Reason.HEALTH_CHECK_FAILED),
            id="failing",
        ),
        pytest.param(
            {"check": CheckState.PASSING, "problem": "the disk is full"},
            (Status.FALSE, Reason.NODE_FAILED),
            (Status.FALSE, Reason.NODE_FAILED),
            id="its own complaint",
        ),
        pytest.param(
            {}, (Status.UNKNOWN, Reason.HEALTH_CHECK_PENDING), (Status.TRUE, Reason.READY), id="a check just given"
        ),
        pytest.param(
            {"connected": False, "ready": False, "since": NOW - 1},
            (Status.UNKNOWN, Reason.AGENT_LOST),
            (Status.FALSE, Reason.AGENT_LOST),
            id="silent",
        ),
    ],
)
def test_health_is_judged_on_evidence_alone(
    fields: dict[str, Any], healthy: tuple[Status, Reason], ready: tuple[Status, Reason]
) -> None:
    planned = plan(said(ready_node(CHECKED), **fields))

    assert status_of(planned, NodeCondition.HEALTHY) == healthy
    assert status_of(planned, NodeCondition.READY) == ready


def test_an_agent_that_answers_and_a_provider_that_does_not_show_its_machine_leave_health_unknown() -> None:
    observed = replace(said(ready_node(PLAIN)), instance=None, missing_since=NOW - 30)

    planned = plan(observed, PLAIN)

    assert planned.step == Wait()
    assert status_of(planned, NodeCondition.HEALTHY) == (Status.UNKNOWN, Reason.CONFLICT)
    assert status_of(planned, NodeCondition.READY) == (Status.TRUE, Reason.READY)


def test_a_verdict_counts_only_while_the_pool_has_a_check() -> None:
    planned = plan(said(ready_node(PLAIN), check=CheckState.FAILING), PLAIN)

    assert status_of(planned, NodeCondition.READY) == (Status.TRUE, Reason.READY)


def test_a_new_node_is_not_ready_before_its_first_pass() -> None:
    waiting, passed = plan(starting()), plan(starting(check=CheckState.PASSING))

    assert status_of(waiting, NodeCondition.READY) == (Status.FALSE, Reason.HEALTH_CHECK_PENDING)
    assert status_of(waiting, NodeCondition.INITIALIZED) == (Status.FALSE, Reason.HEALTH_CHECK_PENDING)
    assert waiting.requeue_after_s == 60
    assert status_of(passed, NodeCondition.READY) == (Status.TRUE, Reason.READY)


@pytest.mark.parametrize("check", [CheckState.UNKNOWN, CheckState.FAILING])
def test_a_new_node_that_does_not_pass_in_time_has_failed(check: CheckState) -> None:
    observed = starting(check=check, check_message="exit status 9")

    assert plan(observed, now=NOW + 59).step == Wait()
    step = plan(observed, now=NOW + 60).step
    assert isinstance(step, FailNode)
    assert step.reason in (Reason.HEALTH_CHECK_PENDING, Reason.HEALTH_CHECK_FAILED)


def test_a_node_that_served_is_not_given_up_by_its_own_plan_however_long_its_check_fails() -> None:
    failing = said(ready_node(CHECKED), check=CheckState.FAILING)
    old = make_condition(NodeCondition.READY, Status.FALSE, Reason.HEALTH_CHECK_FAILED, at=NOW - 50_000)
    node = failing.node.replace(
        status=failing.node.status.replace(conditions=(*ready_conditions(at=NOW - 60_000)[:-1], old))
    )

    planned = plan(replace(failing, node=node))

    assert planned.step == Wait()
    assert planned.requeue_after_s is None


def test_an_operator_restart_leaves_a_node_as_it_was_until_its_agent_has_spoken() -> None:
    just_back = said(ready_node(PLAIN), ready=False, since=NOW - 2)

    planned, later = plan(just_back, PLAIN), plan(just_back, PLAIN, now=NOW + 28)

    assert status_of(planned, NodeCondition.READY) == (Status.UNKNOWN, Reason.AGENT_AWAITED)
    assert planned.requeue_after_s == 28
    assert status_of(later, NodeCondition.READY) == (Status.FALSE, Reason.REGISTERED)


@pytest.mark.parametrize("heard_by", ["driver", "agent"])
def test_an_announced_loss_cordons_at_once_and_says_when(heard_by: str) -> None:
    notice = Notice(NOW + 120, "capacity")
    observed = ready_node(PLAIN)
    if heard_by == "driver":
        observed = replace(observed, instance=make_instance("instance-0", "launch-0", notice=notice))
    else:
        observed = said(observed, notice=notice)

    planned = plan(observed, PLAIN)

    assert isinstance(planned.step, Cordon)
    told = next(one for one in planned.conditions if one.type == NodeCondition.INTERRUPTED)
    assert told.status is Status.TRUE
    assert "2025-06-15T15:08:40" in told.message
    assert "capacity" in told.message


def test_the_drain_of_a_node_ends_before_it_is_taken() -> None:
    observed = ready_node(PLAIN, deleted_at=NOW - 10, held=1, unschedulable=True)
    observed = replace(observed, instance=make_instance("instance-0", "launch-0", notice=Notice(NOW + 30)))

    assert plan(observed, PLAIN).requeue_after_s == 25
    assert plan(observed, PLAIN, now=NOW + 25).step != Wait()


def test_what_was_announced_and_taken_back_is_said_no_more() -> None:
    observed = ready_node(PLAIN)
    told = make_condition(NodeCondition.INTERRUPTED, reason=Reason.INTERRUPTED)
    node = observed.node.replace(
        status=observed.node.status.replace(conditions=(*observed.node.status.conditions, told))
    )

    assert status_of(plan(replace(observed, node=node), PLAIN), NodeCondition.INTERRUPTED)[0] is None


@pytest.mark.parametrize(
    ("state", "kept"),
    [(InstanceState.UP, True), (InstanceState.HALTED, True), (InstanceState.PREEMPTED, False)],
)
def test_a_failed_node_is_kept_while_there_is_something_to_look_at(state: InstanceState, kept: bool) -> None:
    pool = make_pool(annotations={"skyward.dev/keep-on-failure": "true"})
    node = make_node(pool, launch="launch-0", provider_id="instance-0", failure="it broke", hourly_cost="0.25")
    observed = observe_node(node, instance=make_instance("instance-0", "launch-0", state))

    planned = plan(observed, pool)

    assert isinstance(planned.step, Cordon) is kept
    assert any("0.25 $/h" in one.message for one in planned.decisions) is kept


@pytest.mark.parametrize(("ran_s", "attempt"), [(100, 3), (3599, 3), (3700, 1)])
def test_restarts_count_in_a_row(ran_s: float, attempt: int) -> None:
    """The agent was started again twice, ran for so long since, and fell silent ten seconds ago."""
    restarted = make_condition(NodeCondition.BOOTSTRAPPED, reason=Reason.BOOTSTRAPPED, at=NOW - 10 - ran_s)
    conditions = [one for one in ready_conditions(at=NOW - 9000) if one.type != NodeCondition.BOOTSTRAPPED]
    observed = ready_node(PLAIN)
    status = observed.node.status.replace(conditions=(*conditions, restarted), restarts=2)
    silent = replace(observed, node=observed.node.replace(status=status))
    silent = said(silent, connected=False, ready=False, since=NOW - 10)

    step = plan(silent, PLAIN).step

    assert isinstance(step, RunBootstrap)
    assert step.attempt == attempt
