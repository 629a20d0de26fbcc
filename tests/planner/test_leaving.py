"""`plan_node` for a node that leaves: drain, delete, and nothing is over before it is proved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, Reason, Status
from skyward.facts import BootstrapState, InstanceState, LaunchState, ObservedNode
from skyward.planner import Cordon, Finish, NodePlan, NodeRules, ResumeLaunch, Terminate, Wait, plan_node
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
)

POOL = make_pool(drain_timeout="1m")
RULES = NodeRules(started_at=NOW - 10_000, has_token=False, visibility_s=30, absence_s=60, same_host=True)


def plan(observed: ObservedNode, rules: NodeRules = RULES, pool: Pool | None = POOL, now: float = NOW) -> NodePlan:
    return plan_node(observed, pool, make_market(), rules, now)


def leaving(
    *,
    since_s: float = 10,
    asked_s: float | None = None,
    state: InstanceState | None = InstanceState.UP,
    held: int = 0,
    listed_at: float | None = NOW,
    **node: Any,
) -> ObservedNode:
    """A node that was ready and has been leaving for so long; its deletion was asked for so long ago, or not yet."""
    conditions = list(ready_conditions())
    if asked_s is not None:
        conditions.append(make_condition(NodeCondition.TERMINATING, reason=Reason.TERMINATING, at=NOW - asked_s))
    row = make_node(
        POOL,
        deleted_at=NOW - since_s,
        launch="launch-1",
        provider_id="instance-1",
        conditions=conditions,
        **node,
    )
    return observe_node(
        row,
        launch=make_launch([row]),
        instance=None if state is None else make_instance(state=state),
        bootstrap=BootstrapState.DONE,
        session=make_session(row),
        held=held,
        listed_at=listed_at,
    )


def unlaunched(state: LaunchState | None, **more: Any) -> ObservedNode:
    row = make_node(POOL, deleted_at=NOW - 10, launch="" if state is None else "launch-1")
    launch = None if state is None else make_launch([row], state=state, created_at=NOW - 20)
    return observe_node(row, launch=launch, **more)


# --- drain -------------------------------------------------------------------------------------------------------


def test_a_leaving_node_first_takes_no_new_work() -> None:
    assert isinstance(plan(leaving(held=2)).step, Cordon)


def test_running_work_is_waited_for_until_the_drain_timeout() -> None:
    busy = leaving(held=2, unschedulable=True)

    assert plan(busy).step == Wait()
    assert plan(busy).requeue_after_s == 50
    assert isinstance(plan(busy, now=NOW + 50).step, Terminate)


def test_an_idle_node_is_deleted_at_once() -> None:
    planned = plan(leaving(unschedulable=True))

    assert isinstance(planned.step, Terminate)
    drained = next(update for update in planned.conditions if update.type == NodeCondition.DRAINED)
    assert (drained.status, drained.reason) == (Status.TRUE, Reason.DRAINED)


@pytest.mark.parametrize(
    ("observed", "pool"),
    [
        pytest.param(leaving(held=2, failure="no such package"), POOL, id="failed"),
        pytest.param(leaving(held=2, state=InstanceState.PREEMPTED), POOL, id="lost"),
        pytest.param(leaving(held=2), make_pool(deleted_at=NOW), id="pool deleted"),
        pytest.param(leaving(held=2), None, id="no pool"),
    ],
)
def test_work_that_cannot_or_need_not_end_is_not_waited_for(observed: ObservedNode, pool: Pool | None) -> None:
    assert isinstance(plan(observed, pool=pool).step, Terminate)


# --- deletion ----------------------------------------------------------------------------------------------------


def test_nothing_is_deleted_without_a_complete_listing() -> None:
    assert plan(leaving(unschedulable=True, state=None, listed_at=None)).step == Wait()


def test_deletion_is_asked_for_even_when_the_listing_no_longer_shows_the_instance() -> None:
    assert isinstance(plan(leaving(unschedulable=True, state=None)).step, Terminate)


def test_is_gone_when_the_provider_says_so() -> None:
    assert isinstance(plan(leaving(unschedulable=True, asked_s=5, state=InstanceState.GONE)).step, Finish)


@pytest.mark.parametrize(
    "state", [InstanceState.HALTED, InstanceState.PREEMPTED, InstanceState.FAILED, InstanceState.UP]
)
def test_what_is_still_listed_is_deleted_again(state: InstanceState) -> None:
    planned = plan(leaving(unschedulable=True, asked_s=5, state=state))

    assert isinstance(planned.step, Terminate)
    assert planned.requeue_after_s == 2.5


def test_a_listing_older_than_the_request_leads_to_no_second_one() -> None:
    assert plan(leaving(unschedulable=True, asked_s=5, listed_at=NOW - 5)).step == Wait()


def test_an_instance_that_is_being_deleted_is_left_alone_for_a_while() -> None:
    assert plan(leaving(unschedulable=True, asked_s=59, state=InstanceState.LEAVING)).step == Wait()
    assert isinstance(plan(leaving(unschedulable=True, asked_s=60, state=InstanceState.LEAVING)).step, Terminate)


# --- never bound -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [None, LaunchState.PREPARED, LaunchState.REJECTED, LaunchState.ABSENT, LaunchState.BOUND]
)
def test_a_node_that_never_had_an_instance_is_over_at_once(state: LaunchState | None) -> None:
    assert isinstance(plan(unlaunched(state)).step, Finish)


@pytest.mark.parametrize("state", [LaunchState.SENT, LaunchState.UNKNOWN])
def test_an_unknown_launch_is_resolved_first(state: LaunchState) -> None:
    restarted = replace(RULES, started_at=NOW - 1)

    unresolved = plan(unlaunched(state), restarted)
    shown = plan(unlaunched(state, instance=make_instance()), restarted)
    replayed = plan(unlaunched(state), replace(restarted, has_token=True))

    assert unresolved.step == Wait()
    assert isinstance(shown.step, ResumeLaunch)
    assert shown.step.bind
    assert isinstance(replayed.step, ResumeLaunch)
    assert replayed.step.replay


def test_an_instance_that_shows_up_late_is_bound_so_that_it_is_deleted() -> None:
    step = plan(unlaunched(LaunchState.ABSENT, instance=make_instance())).step

    assert isinstance(step, ResumeLaunch)
    assert step.bind


def test_a_paused_pool_lets_go_what_is_leaving() -> None:
    assert isinstance(plan(leaving(unschedulable=True), pool=make_pool(paused=True)).step, Terminate)
