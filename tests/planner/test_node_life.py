"""`plan_node` from a bound instance on: bootstrap, registration, health, loss, restart of the agent and of the operator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import Node, NodeCondition, Pool, Reason, Status, is_true, to_time
from skyward.facts import BootstrapProgress, BootstrapState, InstanceState, ObservedNode
from skyward.planner import FailNode, NodePlan, NodeRules, RunBootstrap, Wait, apply_updates, plan_node
from tests.builders import (
    NOW,
    failed_node,
    make_condition,
    make_instance,
    make_launch,
    make_market,
    make_node,
    make_pool,
    make_session,
    observe_node,
    ready_node,
)

POOL = make_pool()
TUNNEL = make_pool(connection="tunnel")
RULES = NodeRules(started_at=NOW - 10_000, has_token=True, visibility_s=30, absence_s=60, same_host=True)


def plan(observed: ObservedNode, rules: NodeRules = RULES, pool: Pool | None = POOL, now: float = NOW) -> NodePlan:
    return plan_node(observed, pool, make_market(), rules, now)


def bound(
    *conditions: tuple[NodeCondition, Status, float], state: InstanceState | None = InstanceState.UP, **more: Any
) -> ObservedNode:
    """Bound 100 s ago, with these conditions of that age in seconds."""
    found = [make_condition(NodeCondition.LAUNCHED, reason=Reason.LAUNCHED, at=NOW - 100)]
    found += [make_condition(type_, status, at=NOW - age) for type_, status, age in conditions]
    node = make_node(POOL, launch="launch-1", provider_id="instance-1", conditions=found)
    instance = None if state is None else make_instance(state=state)
    return observe_node(node, launch=make_launch([node], created_at=NOW - 101), instance=instance, **more)


def status_of(planned: NodePlan, type_: str) -> tuple[Status | None, Reason] | None:
    return next(((one.status, one.reason) for one in planned.conditions if one.type == type_), None)


# --- the instance ------------------------------------------------------------------------------------------------


def test_waits_for_an_instance_that_starts_until_the_deadline() -> None:
    planned = plan(bound(state=InstanceState.STARTING))

    assert planned.step == Wait()
    assert planned.requeue_after_s == RULES.launch_deadline_s - 101


def test_an_instance_that_never_comes_up_is_given_up() -> None:
    step = plan(bound(state=InstanceState.STARTING), now=NOW + 200).step

    assert isinstance(step, FailNode)
    assert step.reason is Reason.TIMED_OUT


def test_a_deadline_does_not_expire_while_no_operator_ran() -> None:
    rules = replace(RULES, started_at=NOW + 199)

    assert plan(bound(state=InstanceState.STARTING), rules, now=NOW + 200).step == Wait()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (InstanceState.PREEMPTED, Reason.INTERRUPTED),
        (InstanceState.HALTED, Reason.INSTANCE_LOST),
        (InstanceState.GONE, Reason.INSTANCE_LOST),
        (InstanceState.FAILED, Reason.INSTANCE_FAILED),
    ],
)
def test_a_lost_instance_fails_its_node(state: InstanceState, reason: Reason) -> None:
    step = plan(bound(state=state)).step

    assert isinstance(step, FailNode)
    assert step.reason is reason


def test_an_agent_that_answers_stands_above_a_listing_without_its_machine() -> None:
    observed = replace(ready_node(POOL), instance=None)

    assert plan(observed).step == Wait()


def test_a_node_is_not_given_up_while_its_provider_cannot_be_observed() -> None:
    observed = bound((NodeCondition.REGISTERED, Status.TRUE, 9_000), state=None, listed_at=None)
    observed = replace(observed, session=make_session(observed.node, ready=False))

    assert plan(observed).step == Wait()
    assert isinstance(plan(replace(observed, listed_at=NOW)).step, FailNode)


def test_the_record_of_a_failed_node_is_left_alone() -> None:
    assert plan(failed_node(POOL)) == NodePlan(Wait(), ())


# --- bootstrap ---------------------------------------------------------------------------------------------------


def test_an_instance_that_is_up_is_bootstrapped() -> None:
    planned = plan(bound())

    assert isinstance(planned.step, RunBootstrap)
    assert not planned.step.restart
    assert status_of(planned, NodeCondition.BOOTSTRAPPED) == (Status.FALSE, Reason.BOOTSTRAPPING)


@pytest.mark.parametrize("state", [BootstrapState.CONNECTING, BootstrapState.RUNNING])
def test_a_running_bootstrap_is_left_running_until_its_deadline(state: BootstrapState) -> None:
    observed = bound((NodeCondition.BOOTSTRAPPED, Status.FALSE, 90), bootstrap=state)

    assert plan(observed).step == Wait()
    assert isinstance(plan(observed, now=NOW + 1710).step, FailNode)


def test_a_bootstrap_has_its_whole_deadline_again_after_an_operator_restart() -> None:
    observed = bound((NodeCondition.BOOTSTRAPPED, Status.FALSE, 90), bootstrap=BootstrapState.RUNNING)

    planned = plan(observed, replace(RULES, started_at=NOW + 9_000), now=NOW + 9_010)

    assert planned.step == Wait()
    assert planned.requeue_after_s == RULES.bootstrap_deadline_s - 10


def test_a_failed_step_is_told_with_its_last_lines() -> None:
    progress = BootstrapProgress(
        BootstrapState.FAILED, step="pip", message="exit status 1", tail="no such package: foo"
    )

    planned = plan(bound(bootstrap=progress))

    assert isinstance(planned.step, FailNode)
    assert planned.step.reason is Reason.BOOTSTRAP_FAILED
    assert planned.step.message == "bootstrap step pip failed: exit status 1\nno such package: foo"
    assert status_of(planned, NodeCondition.BOOTSTRAPPED) == (Status.FALSE, Reason.BOOTSTRAP_FAILED)


def test_a_host_with_another_key_is_given_up() -> None:
    planned = plan(bound(bootstrap=BootstrapState.HOST_KEY_MISMATCH))

    assert isinstance(planned.step, FailNode)
    assert planned.step.reason is Reason.HOST_KEY_MISMATCH
    assert status_of(planned, NodeCondition.HOST_KEY_VERIFIED) == (Status.FALSE, Reason.HOST_KEY_MISMATCH)


def test_an_agent_that_does_not_call_home_is_started_again_and_given_up_in_the_end() -> None:
    observed = bound((NodeCondition.BOOTSTRAPPED, Status.TRUE, 20), bootstrap=BootstrapState.DONE)
    assert plan(observed).step == Wait()
    assert plan(observed).requeue_after_s == RULES.registration_deadline_s / (RULES.max_restarts + 1) - 20

    again = plan(observed, now=NOW + 10)

    assert isinstance(again.step, RunBootstrap)
    assert (again.step.restart, again.step.attempt) == (True, 1)
    assert status_of(again, NodeCondition.BOOTSTRAPPED) == (Status.FALSE, Reason.BOOTSTRAPPING)
    tried = observed.node.status.replace(restarts=RULES.max_restarts)
    last = plan(replace(observed, node=observed.node.replace(status=tried)), now=NOW + 10).step
    assert isinstance(last, FailNode)
    assert last.reason is Reason.TIMED_OUT


# --- the agent answers -------------------------------------------------------------------------------------------


def test_a_connected_agent_that_asks_for_work_makes_the_node_ready() -> None:
    observed = bound(bootstrap=BootstrapState.RUNNING)
    observed = replace(observed, session=make_session(observed.node))

    planned = plan(observed)

    assert planned.step == Wait()
    assert planned.requeue_after_s is None
    for type_ in ("Launched", "Bootstrapped", "Registered", "Initialized", "Ready", "Healthy"):
        assert status_of(planned, type_) is not None
        assert status_of(planned, type_)[0] is Status.TRUE  # type: ignore[index]


def test_a_ready_node_planned_again_changes_no_condition() -> None:
    observed = ready_node(POOL)
    once = _after(observed, plan(observed))

    again = apply_updates(once.status.conditions, plan(replace(observed, node=once)).conditions, NOW + 60)

    assert again == once.status.conditions


def test_an_agent_that_never_gets_ready_is_given_up() -> None:
    observed = bound((NodeCondition.REGISTERED, Status.TRUE, 30))
    observed = replace(observed, session=make_session(observed.node, ready=False, problem="disk full"))

    soon, late = plan(observed), plan(observed, now=NOW + 570)

    assert soon.step == Wait()
    assert status_of(soon, NodeCondition.HEALTHY) == (Status.FALSE, Reason.NODE_FAILED)
    assert isinstance(late.step, FailNode)
    assert "disk full" in late.step.message


def test_a_connected_agent_needs_no_bootstrap_after_an_operator_restart() -> None:
    observed = replace(ready_node(POOL), bootstrap=BootstrapProgress())

    assert plan(observed).step == Wait()


def test_a_tunnel_is_opened_again_after_an_operator_restart() -> None:
    observed = replace(ready_node(TUNNEL), bootstrap=BootstrapProgress())

    step = plan(observed, pool=TUNNEL).step

    assert isinstance(step, RunBootstrap)
    assert not step.restart


def test_an_instance_on_its_way_out_is_no_longer_ready() -> None:
    observed = ready_node(POOL)
    leaving = replace(observed, instance=make_instance("instance-0", "launch-0", InstanceState.LEAVING))

    planned = plan(leaving)

    assert planned.step == Wait()
    assert status_of(planned, NodeCondition.READY) == (Status.FALSE, Reason.INTERRUPTED)
    assert status_of(planned, NodeCondition.INTERRUPTED) == (Status.TRUE, Reason.INTERRUPTED)


def test_a_cordoned_node_says_so_and_stays_ready() -> None:
    planned = plan(ready_node(POOL, unschedulable=True))

    assert status_of(planned, NodeCondition.CORDONED) == (Status.TRUE, Reason.CORDONED)
    assert status_of(planned, NodeCondition.READY) == (Status.TRUE, Reason.READY)


# --- the agent is silent -----------------------------------------------------------------------------------------


def silent(since: float, **more: Any) -> ObservedNode:
    observed = ready_node(POOL, **more)
    return replace(observed, session=make_session(observed.node, connected=False, ready=False, since=since))


def test_a_short_silence_is_waited_out() -> None:
    planned = plan(silent(NOW - 4))

    assert planned.step == Wait()
    assert planned.requeue_after_s == 6
    assert status_of(planned, NodeCondition.READY) == (Status.FALSE, Reason.AGENT_LOST)


def test_a_silent_agent_is_started_again() -> None:
    step = plan(silent(NOW - 10)).step

    assert isinstance(step, RunBootstrap)
    assert step.restart


def test_an_agent_that_dies_within_the_second_of_its_start_is_started_again_as_any_other() -> None:
    observed = silent(NOW - 9.6)
    node = observed.node.replace(
        status=observed.node.status.replace(
            conditions=tuple(
                one.replace(last_transition_time=to_time(NOW - 10)) for one in observed.node.status.conditions
            )
        )
    )

    step = plan(replace(observed, node=node, bootstrap=BootstrapProgress(BootstrapState.DONE)), now=NOW + 1).step

    assert isinstance(step, RunBootstrap)
    assert step.restart


def test_a_restarted_agent_has_one_lease_to_come_back() -> None:
    observed = silent(NOW - 10)
    during = replace(observed, node=_after(observed, plan(observed)))
    started = plan(during, now=NOW + 2)
    waiting = replace(during, node=_after(during, started, now=NOW + 2))

    assert started.step == Wait()
    assert plan(waiting, now=NOW + 31).step == Wait()
    assert isinstance(plan(waiting, now=NOW + 32).step, RunBootstrap)


def test_an_agent_that_cannot_be_started_again_in_time_costs_the_node() -> None:
    observed = silent(NOW - 10)
    during = replace(
        observed, node=_after(observed, plan(observed)), bootstrap=BootstrapProgress(BootstrapState.CONNECTING)
    )

    step = plan(during, now=NOW + 120).step

    assert plan(during, now=NOW + 119).step == Wait()
    assert isinstance(step, FailNode)
    assert step.reason is Reason.AGENT_LOST


def test_after_the_last_restart_the_node_is_given_up() -> None:
    step = plan(silent(NOW - 10, restarts=3)).step

    assert isinstance(step, FailNode)
    assert step.reason is Reason.AGENT_LOST


def test_a_machine_that_is_starting_again_is_waited_for() -> None:
    observed = replace(silent(NOW - 60), instance=make_instance("instance-0", "launch-0", InstanceState.STARTING))

    assert plan(observed).step == Wait()


# --- an operator restart -----------------------------------------------------------------------------------------


def test_after_an_operator_restart_a_ready_node_is_unknown_for_one_lease() -> None:
    observed = replace(ready_node(POOL), session=None, bootstrap=BootstrapProgress())
    rules = replace(RULES, started_at=NOW - 1)

    during, after = plan(observed, rules), plan(observed, rules, now=NOW + 29)

    assert (during.step, during.requeue_after_s) == (Wait(), 29)
    assert status_of(during, NodeCondition.READY) == (Status.UNKNOWN, Reason.AGENT_AWAITED)
    assert isinstance(after.step, RunBootstrap)
    assert status_of(after, NodeCondition.READY) == (Status.FALSE, Reason.AGENT_LOST)


def test_a_node_that_was_not_ready_does_not_look_better_after_an_operator_restart() -> None:
    observed = silent(NOW - 4)
    node = _after(observed, plan(observed))
    restarted = replace(observed, node=node, session=None, bootstrap=BootstrapProgress())

    planned = plan(restarted, replace(RULES, started_at=NOW))

    assert planned.step == Wait()
    assert status_of(planned, NodeCondition.READY) == (Status.FALSE, Reason.AGENT_LOST)


def test_a_second_operator_restart_begins_the_lease_anew() -> None:
    observed = replace(ready_node(POOL), session=None, bootstrap=BootstrapProgress())
    first = _after(observed, plan(observed, replace(RULES, started_at=NOW)))

    planned = plan(replace(observed, node=first), replace(RULES, started_at=NOW + 25), now=NOW + 40)

    assert planned.step == Wait()
    assert planned.requeue_after_s == 15


@pytest.mark.parametrize("paused", [False, True])
def test_after_an_operator_restart_a_tunnel_is_opened_at_once(paused: bool) -> None:
    observed = replace(ready_node(TUNNEL), session=None, bootstrap=BootstrapProgress())

    step = plan(observed, replace(RULES, started_at=NOW), make_pool(connection="tunnel", paused=paused)).step

    assert isinstance(step, RunBootstrap)
    assert not step.restart


def test_an_unfinished_bootstrap_goes_on_after_an_operator_restart() -> None:
    observed = bound((NodeCondition.BOOTSTRAPPED, Status.FALSE, 50))

    step = plan(observed, replace(RULES, started_at=NOW)).step

    assert isinstance(step, RunBootstrap)
    assert not step.restart


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(bound(), id="up"),
        pytest.param(bound(state=InstanceState.FAILED), id="lost"),
        pytest.param(silent(NOW - 60), id="silent"),
    ],
)
def test_a_paused_pool_is_only_watched(observed: ObservedNode) -> None:
    assert plan(observed, pool=make_pool(paused=True)).step == Wait()


def _after(observed: ObservedNode, planned: NodePlan, now: float = NOW) -> Node:
    """The node once the plan is written and its step begun."""
    node = observed.node
    conditions = apply_updates(node.status.conditions, planned.conditions, now)
    assert is_true(conditions, NodeCondition.INITIALIZED)
    restarts = node.status.restarts + (isinstance(planned.step, RunBootstrap) and planned.step.restart)
    return node.replace(status=node.status.replace(conditions=conditions, restarts=restarts))


def test_an_agent_that_comes_back_after_a_long_silence_has_time_to_get_ready() -> None:
    conditions = [(NodeCondition.INITIALIZED, Status.TRUE, 9_000), (NodeCondition.READY, Status.FALSE, 5_000)]
    observed = bound((NodeCondition.BOOTSTRAPPED, Status.TRUE, 9_000), *conditions)

    def back(ago_s: float) -> NodePlan:
        return plan(replace(observed, session=make_session(observed.node, ready=False, since=NOW - ago_s)))

    assert back(RULES.lease_s - 1).step == Wait()
    assert isinstance(back(RULES.lease_s).step, FailNode)


def test_the_silence_before_its_agent_was_started_again_does_not_count_against_a_node() -> None:
    conditions = [(NodeCondition.INITIALIZED, Status.TRUE, 9_000), (NodeCondition.READY, Status.FALSE, 5_000)]

    def restarted(ago_s: float) -> NodePlan:
        observed = bound((NodeCondition.BOOTSTRAPPED, Status.TRUE, ago_s), *conditions)
        return plan(replace(observed, session=make_session(observed.node, ready=False, since=NOW - ago_s)))

    assert restarted(RULES.initialization_deadline_s - 1).step == Wait()
    assert isinstance(restarted(RULES.initialization_deadline_s).step, FailNode)
