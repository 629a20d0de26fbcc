"""Proved gone: a terminal state, or two listings far enough apart and a direct question. Nothing less."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, Reason, Status
from skyward.facts import InstanceState, LookUp, ObservedNode
from skyward.planner import (
    AskForInstance,
    FailNode,
    Finish,
    NodePlan,
    NodeRules,
    RetireNode,
    Terminate,
    Wait,
    must_show_at,
    plan_node,
    plan_pool,
    shown_at,
)
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
    observe_pool,
    ready_conditions,
)

POOL = make_pool()
VISIBILITY_S = 30.0
RULES = NodeRules(started_at=NOW - 10_000, has_token=False, visibility_s=VISIBILITY_S, absence_s=60, same_host=True)
NOT_FOUND = None


def plan(observed: ObservedNode, pool: Pool = POOL) -> NodePlan:
    return plan_node(observed, pool, make_market(), RULES, NOW)


def look_up(ago_s: float, state: InstanceState | None) -> LookUp:
    return LookUp(NOW - ago_s, None if state is None else make_instance(state=state))


def missing(ago_s: float | None, *, deleting: bool = False, **more: Any) -> ObservedNode:
    """A node that was ready, whose agent is silent, and whose instance listings lack since then."""
    conditions = list(ready_conditions())
    if deleting:
        conditions.append(make_condition(NodeCondition.TERMINATING, reason=Reason.TERMINATING, at=NOW - 200))
    row = make_node(
        POOL,
        deleted_at=NOW - 210 if deleting else None,
        launch="launch-1",
        provider_id="instance-1",
        conditions=conditions,
        unschedulable=deleting,
    )
    more.setdefault("session", make_session(row, connected=False, ready=False, since=NOW - 5))
    since = None if ago_s is None else NOW - ago_s
    return observe_node(row, launch=make_launch([row]), missing_since=since, **more)


TABLE = [
    pytest.param(None, None, Wait, id="no listing lacks it that must show it"),
    pytest.param(0.0, None, Wait, id="one listing lacks it"),
    pytest.param(29.0, None, Wait, id="two lack it, not far enough apart"),
    pytest.param(29.0, look_up(1, NOT_FOUND), Wait, id="not found, and listings not far enough apart"),
    pytest.param(30.0, None, AskForInstance, id="two lack it: ask"),
    pytest.param(300.0, look_up(290, NOT_FOUND), AskForInstance, id="not found, asked too early"),
    pytest.param(40.0, look_up(5, NOT_FOUND), "gone", id="two lack it, and it is not found"),
    pytest.param(29.0, look_up(1, InstanceState.GONE), "gone", id="the provider says that it is gone"),
]


@pytest.mark.parametrize(("ago_s", "looked_up", "expected"), TABLE)
def test_a_node_is_given_up_only_when_its_instance_is_proved_gone(
    ago_s: float | None, looked_up: LookUp | None, expected: type | str
) -> None:
    step = plan(missing(ago_s, looked_up=looked_up)).step

    assert isinstance(step, FailNode if expected == "gone" else expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(("ago_s", "looked_up", "expected"), TABLE)
def test_a_deleted_instance_is_gone_only_when_that_is_proved(
    ago_s: float | None, looked_up: LookUp | None, expected: type | str
) -> None:
    step = plan(missing(ago_s, deleting=True, looked_up=looked_up, session=None)).step

    assert isinstance(step, Finish if expected == "gone" else expected)  # type: ignore[arg-type]


def test_without_a_fresh_listing_nothing_is_proved() -> None:
    for deleting in (False, True):
        observed = missing(None, deleting=deleting, listed_at=None, looked_up=look_up(5, NOT_FOUND))

        assert plan(observed).step == Wait()


def test_a_listed_terminal_state_is_proof() -> None:
    observed = replace(missing(None, deleting=True, session=None), instance=make_instance(state=InstanceState.GONE))

    assert isinstance(plan(observed).step, Finish)


def test_a_listing_that_shows_it_again_stands_above_the_answer_that_it_is_not_found() -> None:
    observed = missing(None, deleting=True, session=None, looked_up=look_up(5, NOT_FOUND))

    assert isinstance(plan(replace(observed, instance=make_instance())).step, Terminate)


def test_an_agent_that_answers_stands_above_every_listing() -> None:
    observed = missing(300.0, looked_up=look_up(5, NOT_FOUND))
    answering = replace(observed, session=make_session(observed.node))

    assert plan(answering).step == Wait()
    assert plan(replace(answering, looked_up=None)).step == Wait()


def test_a_question_changes_nothing_that_is_said_of_the_node() -> None:
    asks, waits = plan(missing(30.0)), plan(missing(29.0))

    assert isinstance(asks.step, AskForInstance)
    assert asks.conditions == waits.conditions


def test_an_instance_must_show_only_after_the_visibility_time_of_whatever_came_last() -> None:
    bound = make_condition(NodeCondition.LAUNCHED, reason=Reason.LAUNCHED, at=NOW - 40)
    node = make_node(POOL, launch="launch-1", provider_id="instance-1", conditions=[bound])

    late_call = make_launch([node], created_at=NOW - 35)
    assert must_show_at(node, make_launch([node]), VISIBILITY_S) == NOW - 40 + 1 + VISIBILITY_S
    assert must_show_at(node, late_call, VISIBILITY_S) == NOW - 35 + VISIBILITY_S


def test_of_a_node_that_was_bound_while_leaving_the_request_tells_when_it_had_its_instance() -> None:
    conditions = [
        make_condition(NodeCondition.LAUNCHED, Status.UNKNOWN, at=NOW - 90),
        make_condition(NodeCondition.TERMINATING, reason=Reason.TERMINATING, at=NOW - 20),
    ]
    node = make_node(POOL, deleted_at=NOW - 80, launch="launch-1", provider_id="instance-1", conditions=conditions)

    assert must_show_at(node, make_launch([node]), VISIBILITY_S) == NOW - 20 + 1 + VISIBILITY_S


@pytest.mark.parametrize(
    ("looked_up", "expected"),
    [
        (None, 0.0),
        (look_up(5, NOT_FOUND), 0.0),
        (look_up(5, InstanceState.GONE), 0.0),
        (look_up(5, InstanceState.UP), NOW - 5),
    ],
)
def test_an_answer_that_shows_it_makes_the_proof_begin_anew(looked_up: LookUp | None, expected: float) -> None:
    assert shown_at(looked_up) == expected


def test_a_failed_node_that_is_kept_stays_until_its_provider_itself_does_not_know_it() -> None:
    pool = make_pool(annotations={"skyward.dev/keep-on-failure": "true"})
    node = make_node(pool, unschedulable=True, launch="launch-1", provider_id="instance-1", failure="it broke")
    lacking = observe_node(node, missing_since=NOW - 300)

    def retired(answer: LookUp | None) -> list[str]:
        actions = plan_pool(observe_pool(pool, [replace(lacking, looked_up=answer)]), NOW).actions
        return [action.node for action in actions if isinstance(action, RetireNode)]

    assert isinstance(plan(lacking, pool).step, AskForInstance)
    assert retired(None) == retired(look_up(10, InstanceState.HALTED)) == retired(look_up(400, NOT_FOUND)) == []
    assert retired(look_up(10, NOT_FOUND)) == [node.key]
