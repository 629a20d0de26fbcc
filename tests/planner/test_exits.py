"""No wedge: whatever state a node is in, its plan acts, or looks again by itself, or something that is named moves it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Reason, Status
from skyward.facts import (
    LAUNCH_TRANSITIONS,
    BootstrapState,
    InstanceState,
    LaunchState,
    LookUp,
    ObservedNode,
)
from skyward.planner import FailNode, Finish, NodePlan, NodeRules, Terminate, Wait, plan_node
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
    pending_node,
    ready_conditions,
    ready_node,
)

POOL = make_pool()
RULES = NodeRules(started_at=NOW - 100_000, has_token=False, visibility_s=30, absence_s=60, same_host=True)
LONG_S = 50_000.0


def plan(observed: ObservedNode, now: float = NOW, *, has_token: bool = False) -> NodePlan:
    return plan_node(observed, POOL, make_market(), replace(RULES, has_token=has_token), now)


def launched(state: LaunchState, *, leaving: bool = False) -> ObservedNode:
    node = make_node(POOL, launch="launch-1", deleted_at=NOW - 5 if leaving else None)
    return observe_node(node, launch=make_launch([node], state=state, created_at=NOW - 5))


def bound(*conditions: tuple[str, Status], state: InstanceState | None = InstanceState.UP, **more: Any) -> ObservedNode:
    told = [make_condition(NodeCondition.LAUNCHED, reason=Reason.LAUNCHED, at=NOW - 5)]
    told += [make_condition(type_, status, at=NOW - 5) for type_, status in conditions]
    node = make_node(POOL, launch="launch-1", provider_id="instance-1", conditions=told)
    instance = None if state is None else make_instance(state=state)
    if "session" in more:
        more["session"] = more["session"](node)
    return observe_node(node, launch=make_launch([node], created_at=NOW - 6), instance=instance, **more)


def leaving(state: InstanceState | None, *, asked: bool, **more: Any) -> ObservedNode:
    told = list(ready_conditions())
    if asked:
        told.append(make_condition(NodeCondition.TERMINATING, reason=Reason.TERMINATING, at=NOW - 5))
    node = make_node(
        POOL, deleted_at=NOW - 9, launch="launch-1", provider_id="instance-1", conditions=told, unschedulable=True
    )
    instance = None if state is None else make_instance(state=state)
    return observe_node(node, launch=make_launch([node]), instance=instance, **more)


def warming(node: Any) -> Any:
    return make_session(node, ready=False, since=NOW - 5)


def away(node: Any) -> Any:
    return make_session(node, connected=False, ready=False, since=NOW - 5)


REGISTERED = (NodeCondition.REGISTERED, Status.TRUE)
BOOTSTRAPPING = (NodeCondition.BOOTSTRAPPED, Status.FALSE)
BOOTSTRAPPED = (NodeCondition.BOOTSTRAPPED, Status.TRUE)

STATES: dict[str, ObservedNode] = {
    "no launch": pending_node(POOL),
    **{f"launch {state}": launched(state) for state in LaunchState},
    **{f"leaving, launch {state}": launched(state, leaving=True) for state in LaunchState},
    **{f"bound, {state}": bound(state=state) for state in InstanceState},
    "bound, not listed": bound(state=None),
    **{f"bootstrap {state}": bound(BOOTSTRAPPING, bootstrap=state) for state in BootstrapState},
    "agent started, not heard": bound(BOOTSTRAPPED, bootstrap=BootstrapState.DONE),
    "agent warms up": bound(BOOTSTRAPPED, REGISTERED, session=warming),
    **{f"agent away, bootstrap {state}": bound(REGISTERED, bootstrap=state, session=away) for state in BootstrapState},
    **{f"agent away, instance {state}": bound(REGISTERED, session=away, state=state) for state in InstanceState},
    "agent away, not listed": bound(REGISTERED, session=away, state=None, missing_since=NOW - 1),
    "agent not seen since the start": bound(REGISTERED),
    **{
        f"leaving, {state}, asked {asked}": leaving(state, asked=asked)
        for state in InstanceState
        for asked in (False, True)
    },
    "leaving, not listed": leaving(None, asked=True),
    "leaving, missing": leaving(None, asked=True, missing_since=NOW - 1),
    "leaving, not found": leaving(None, asked=True, missing_since=NOW - 90, looked_up=LookUp(NOW - 1, None)),
    "leaving, no listing": leaving(None, asked=True, listed_at=None),
}


@pytest.mark.parametrize("has_token", [False, True])
@pytest.mark.parametrize("name", STATES)
def test_every_state_has_a_way_on(name: str, has_token: bool) -> None:
    planned = plan(STATES[name], has_token=has_token)

    assert not isinstance(planned.step, Wait) or planned.requeue_after_s is not None
    assert planned.requeue_after_s is None or planned.requeue_after_s <= 1800


STUCK = [
    "bound, starting",
    "bound, unknown",
    "bound, leaving",
    "bootstrap running",
    "bootstrap connecting",
    "agent started, not heard",
    "agent warms up",
    "agent away, instance starting",
    "agent away, instance unknown",
    "agent away, instance leaving",
    "agent away, bootstrap running",
]


@pytest.mark.parametrize("name", STUCK)
def test_a_phase_that_never_ends_is_given_up(name: str) -> None:
    """The same picture so much later, with what its own plan wrote into it meanwhile."""
    observed = replace(STATES[name], listed_at=NOW + LONG_S)
    told = plan(observed).conditions
    conditions = [one for one in observed.node.status.conditions if all(one.type != update.type for update in told)]
    conditions += [
        make_condition(one.type, one.status, one.reason, at=NOW - 5) for one in told if one.status is not None
    ]
    status = observed.node.status.replace(conditions=tuple(conditions))
    later = replace(observed, node=observed.node.replace(status=status))

    assert isinstance(plan(later, NOW + LONG_S).step, FailNode)


KEEPS = make_pool(annotations={"skyward.dev/keep-on-failure": "true"})


@pytest.mark.parametrize("name", [*STATES, "kept"])
def test_no_state_is_looked_at_again_at_once_where_everything_is_visible_at_once(name: str) -> None:
    kept = make_node(KEEPS, launch="launch-1", provider_id="instance-1", failure="it broke", unschedulable=True)
    observed = STATES.get(name) or observe_node(kept, launch=make_launch([kept], created_at=NOW - 6))

    planned = plan_node(observed, KEEPS, make_market(), replace(RULES, visibility_s=0, absence_s=0), NOW)

    assert planned.requeue_after_s is None or planned.requeue_after_s >= 0.1


def test_what_works_needs_no_second_look() -> None:
    planned = plan(ready_node(POOL))

    assert planned.step == Wait()
    assert planned.requeue_after_s is None


@pytest.mark.parametrize("state", [one for one in InstanceState if one is not InstanceState.GONE])
def test_a_deletion_is_asked_for_again_for_ever_and_at_least_every_five_minutes(state: InstanceState) -> None:
    asked = leaving(state, asked=True)

    for later_s in (100, 1000, 10_000, 100_000, 1_000_000):
        planned = plan(replace(asked, listed_at=NOW + later_s), NOW + later_s)

        assert isinstance(planned.step, Terminate)
        assert planned.requeue_after_s is not None
        assert planned.requeue_after_s <= 300


def test_a_deletion_is_asked_for_again_when_listings_lack_what_its_provider_still_knows() -> None:
    known = LookUp(NOW - 1, make_instance())

    assert isinstance(plan(leaving(None, asked=True, looked_up=known)).step, Terminate)
    assert plan(leaving(None, asked=True)).step == Wait()


def test_only_proof_ends_a_deletion() -> None:
    for name, observed in STATES.items():
        if name.startswith("leaving") and observed.node.status.provider_id:
            is_proved = ("gone" in name and "asked True" in name) or name == "leaving, not found"

            assert isinstance(plan(observed).step, Finish) is is_proved, name


def test_every_state_of_a_launch_but_the_last_ones_leads_somewhere() -> None:
    last = {LaunchState.REJECTED}

    assert {state for state, following in LAUNCH_TRANSITIONS.items() if following - {state}} >= set(
        LaunchState
    ) - last - {LaunchState.BOUND}


def test_an_overdue_deletion_says_since_when_and_what_it_may_cost() -> None:
    asked = leaving(InstanceState.UP, asked=True)
    early, late, later = (plan(replace(asked, listed_at=NOW + s), NOW + s) for s in (800, 900, 9000))

    def told(planned: NodePlan) -> tuple[Reason, str]:
        return next((one.reason, one.message) for one in planned.conditions if one.type == NodeCondition.TERMINATING)

    assert told(early)[0] is Reason.TERMINATING
    assert told(late)[0] is Reason.DELETION_OVERDUE
    assert told(late) == told(later), "no times relative to now"
    assert "$/h" in told(late)[1]
