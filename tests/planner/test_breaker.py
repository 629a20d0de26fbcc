"""The breaker: what counts as a silent loss, and how many of them stop remediation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, PoolCondition, Reason, Status, to_time
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.facts import DecisionKind, Hindrance, InstanceState, LookUp, ObservedNode
from skyward.planner import (
    FailNode,
    Losses,
    NodeRules,
    Patience,
    Wait,
    blocks,
    excused_until,
    plan_node,
    plan_pool,
    silent_since,
)
from skyward.planner.breaker import WINDOW_S
from tests.builders import (
    NOW,
    failed_node,
    make_condition,
    make_instance,
    make_market,
    make_pool,
    make_session,
    observe_pool,
    ready_node,
)

POOL = make_pool(nodes=5)
PATIENCE = Patience(started_at=NOW - 1000)
BLOCKED = Hindrance("loss-breaker", Reason.REMEDIATION_BLOCKED, "3 of 5 nodes fell silent together", (("silent", 3),))


def away(ago_s: float, **more: Any) -> ObservedNode:
    """Its agent is not connected since then."""
    observed = ready_node(POOL, **more)
    session = make_session(observed.node, connected=False, ready=False, since=NOW - ago_s)
    return replace(observed, session=session)


def unknown_session() -> ObservedNode:
    return replace(ready_node(POOL), session=None)


def vanished(ago_s: float = 5) -> ObservedNode:
    return replace(away(3), instance=None, missing_since=NOW - ago_s)


def given_up(ago_s: float, reason: Reason = Reason.AGENT_LOST) -> ObservedNode:
    observed = failed_node(POOL, 0, at=NOW - ago_s)
    healthy = make_condition(NodeCondition.HEALTHY, Status.UNKNOWN, reason, at=NOW - ago_s - 900)
    conditions = (*observed.node.status.conditions, healthy)
    return replace(observed, node=observed.node.replace(status=observed.node.status.replace(conditions=conditions)))


@pytest.mark.parametrize(
    ("observed", "ago_s"),
    [
        pytest.param(ready_node(POOL), None, id="its agent answers"),
        pytest.param(away(9), None, id="within the grace"),
        pytest.param(away(11), 11, id="its agent is away"),
        pytest.param(unknown_session(), 1000, id="not seen since this operator began"),
        pytest.param(vanished(), 5, id="its instance vanished"),
        pytest.param(
            replace(vanished(), session=make_session(ready_node(POOL).node)), None, id="but its agent answers"
        ),
        pytest.param(away(99, deleted_at=NOW - 50), None, id="it leaves"),
        pytest.param(
            replace(away(99), instance=make_instance("instance-0", "launch-0", InstanceState.FAILED)), None, id="failed"
        ),
        pytest.param(
            replace(away(99), instance=make_instance("instance-0", "launch-0", InstanceState.LEAVING)),
            None,
            id="taken away",
        ),
        pytest.param(given_up(WINDOW_S - 1), WINDOW_S - 1, id="given up lately"),
        pytest.param(given_up(WINDOW_S + 1), None, id="given up long ago"),
        pytest.param(given_up(10, Reason.HEARTBEATING), None, id="given up for another reason"),
    ],
)
def test_only_what_nobody_vouches_for_is_a_silent_loss(observed: ObservedNode, ago_s: float | None) -> None:
    assert silent_since(observed, PATIENCE, NOW) == (None if ago_s is None else NOW - ago_s)


def test_after_a_restart_of_the_operator_agents_have_a_lease_to_come_back() -> None:
    young = Patience(started_at=NOW - 29)

    assert silent_since(unknown_session(), young, NOW) is None
    assert silent_since(unknown_session(), young, NOW + 1) == young.started_at


def test_the_condition_remembers_since_when_it_is_silent() -> None:
    observed = away(11)
    told = make_condition(NodeCondition.HEALTHY, Status.UNKNOWN, Reason.AGENT_LOST, at=NOW - 5000)
    others = [one for one in observed.node.status.conditions if one.type != NodeCondition.HEALTHY]
    node = observed.node.replace(status=observed.node.status.replace(conditions=(*others, told)))

    assert silent_since(replace(observed, node=node), PATIENCE, NOW) == NOW - 5000


def losses(silent: int, nodes: int) -> Losses:
    return Losses(tuple(f"node-{number}" for number in range(silent)), nodes)


@pytest.mark.parametrize(
    ("silent", "nodes", "is_blocked"),
    [
        (0, 5, False),
        (1, 1, False),
        (1, 5, False),
        (2, 2, True),
        (2, 5, True),
        (2, 10, False),
        (3, 10, True),
        (20, 100, False),
    ],
)
def test_more_than_one_and_a_fifth_of_a_pool_block_it(silent: int, nodes: int, is_blocked: bool) -> None:
    everywhere = losses(silent, 1000)

    assert (blocks(losses(silent, nodes), everywhere) is not None) is is_blocked


@pytest.mark.parametrize(
    ("silent", "nodes", "is_blocked"), [(2, 2, False), (3, 7, False), (3, 6, True), (3, 3, True), (50, 100, True)]
)
def test_three_and_half_of_all_nodes_block_every_pool(silent: int, nodes: int, is_blocked: bool) -> None:
    assert (blocks(losses(1, 10), losses(silent, nodes)) is not None) is is_blocked


def test_a_pool_without_a_silent_node_is_not_blocked_by_the_others() -> None:
    assert blocks(losses(0, 5), losses(100, 100)) is None


def test_many_names_are_not_all_told() -> None:
    told = blocks(losses(9, 10), losses(9, 10))

    assert told is not None
    assert "node-4 and 4 more" in told.message


@pytest.mark.parametrize(("ago_s", "expected"), [(10, NOW - 10), (-10, 0.0), (None, 0.0)])
def test_a_user_excuses_what_was_silent_before(ago_s: float | None, expected: float) -> None:
    asked = {} if ago_s is None else {RECONCILE_REQUESTED: to_time(NOW - ago_s).isoformat()}

    assert excused_until(make_pool(annotations=asked), NOW) == expected


# --- what it does ------------------------------------------------------------------------------------------------

RULES = NodeRules(started_at=NOW - 10_000, has_token=True, visibility_s=0, absence_s=0, same_host=True)


def plan(observed: ObservedNode, pool: Pool = POOL) -> Any:
    return plan_node(observed, pool, make_market(), RULES, NOW)


@pytest.mark.parametrize("how", ["its instance vanished", "its agent is lost"])
def test_a_blocked_node_is_kept_and_its_state_is_unknown(how: str) -> None:
    observed = replace(vanished(), looked_up=LookUp(NOW - 1, None))
    if how == "its agent is lost":
        observed = away(900, restarts=3)
    given_up, kept = plan(observed), plan(replace(observed, blocked=BLOCKED))

    assert isinstance(given_up.step, FailNode)
    assert kept.step == Wait()
    ready = next(update for update in kept.conditions if update.type == NodeCondition.READY)
    assert (ready.status, ready.reason) == (Status.UNKNOWN, Reason.REMEDIATION_BLOCKED)
    assert [(one.kind, one.rule, one.inputs) for one in kept.decisions] == [
        (DecisionKind.HOLD, "loss-breaker", (("silent", 3),))
    ]


def test_what_its_provider_says_is_lost_is_given_up_all_the_same() -> None:
    observed = replace(away(900), instance=make_instance("instance-0", "launch-0", InstanceState.PREEMPTED))

    assert isinstance(plan(replace(observed, blocked=BLOCKED)).step, FailNode)


def test_a_blocked_pool_says_what_to_do_and_holds() -> None:
    planned = plan_pool(replace(observe_pool(POOL, [ready_node(POOL)]), blocked=BLOCKED), NOW)

    stalled = next(update for update in planned.conditions if update.type == PoolCondition.STALLED)
    assert (stalled.status, stalled.reason, stalled.message) == (Status.TRUE, BLOCKED.reason, BLOCKED.message)
    assert "loss-breaker" in [decision.rule for decision in planned.decisions]
