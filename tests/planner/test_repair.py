"""Which unhealthy nodes are repaired now, which wait, and what a pool says of it; and which hosts are left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import Pool, PoolCondition, Reason, Status
from skyward.facts import CheckState, HostFailure, Notice, ObservedMarket, ObservedNode
from skyward.planner import CreateNode, ForgetNode, KeepNode, PoolPlan, RetireNode, plan_pool
from skyward.planner.hosts import FIRST_S, MEMORY_S, shun, without_shunned
from skyward.planner.keeping import MOST_KEPT
from skyward.planner.market import choose_offering
from skyward.planner.shopping import Shopping
from tests.builders import (
    NOW,
    failed_node,
    make_condition,
    make_instance,
    make_market,
    make_node,
    make_offering,
    make_pool,
    make_session,
    observe_node,
    observe_pool,
    pending_node,
    provider_specs,
    ready_node,
)

CHECK: dict[str, Any] = {"command": "true"}


def pool_of(nodes: int, **check: Any) -> Pool:
    return make_pool(nodes=nodes, health_check={**CHECK, **check})


def sick_node(pool: Pool, slot: int, **more: Any) -> ObservedNode:
    observed = ready_node(pool, slot, **more)
    session = make_session(observed.node, check=CheckState.FAILING, check_message=f"exit status {slot}")
    return replace(observed, session=session)


def repaired(pool: Pool, slot: int, at: float, *, gone: bool = True) -> ObservedNode:
    """It served, and was retired for its repair at that time."""
    reason = "Unhealthy: its health check fails"
    observed = failed_node(pool, slot, at=at, gone=gone, retire_reason=reason, suffix=f"r{slot}{int(NOW - at)}")
    served = make_condition("Initialized", reason=Reason.INITIALIZED, at=at - 50)
    status = observed.node.status
    node = observed.node.replace(status=status.replace(conditions=(*status.conditions, served)))
    return replace(observed, node=node)


def plan(pool: Pool, *nodes: ObservedNode, now: float = NOW) -> PoolPlan:
    return plan_pool(observe_pool(pool, nodes), now)


def retired(planned: PoolPlan) -> list[tuple[str, Reason]]:
    return [(one.node.split("-")[1], one.reason) for one in planned.actions if isinstance(one, RetireNode)]


def rules(planned: PoolPlan) -> set[str]:
    return {one.rule for one in planned.decisions}


def condition(planned: PoolPlan, type_: str) -> tuple[Status | None, Reason]:
    return next((one.status, one.reason) for one in planned.conditions if one.type == type_)


def test_an_unhealthy_node_leaves_and_another_takes_its_slot_in_one_plan() -> None:
    pool = pool_of(3)

    planned = plan(pool, ready_node(pool, 0), sick_node(pool, 1), ready_node(pool, 2))

    assert retired(planned) == [("1", Reason.UNHEALTHY)]
    assert [one.slot for one in planned.actions if isinstance(one, CreateNode)] == [1]
    assert condition(planned, PoolCondition.REMEDIATING) == (Status.TRUE, Reason.UNHEALTHY)
    (action,) = (one for one in planned.actions if isinstance(one, RetireNode))
    assert action.rule == "repair"
    assert dict(action.inputs)["max_in_flight"] == 1


@pytest.mark.parametrize(("most", "expected"), [(1, ["0"]), (2, ["0", "1"]), (9, ["0", "1", "2"])])
def test_at_most_so_many_are_under_repair_at_once(most: int, expected: list[str]) -> None:
    pool = pool_of(8, maxInFlight=most)
    nodes = [sick_node(pool, slot) for slot in range(3)] + [ready_node(pool, slot) for slot in range(3, 8)]

    planned = plan(pool, *nodes)

    assert [slot for slot, _ in retired(planned)] == expected
    assert ("repair-in-flight" in rules(planned)) is (most < 3)


def test_a_repair_is_under_way_until_another_node_serves() -> None:
    pool = pool_of(6)
    rest = [ready_node(pool, slot) for slot in range(2, 6)]

    leaving = plan(pool, sick_node(pool, 1), repaired(pool, 0, NOW - 5, gone=False), pending_node(pool, 0), *rest)
    coming = plan(pool, sick_node(pool, 1), pending_node(pool, 0), *rest)
    over = plan(pool, sick_node(pool, 1), ready_node(pool, 0), *rest)

    assert (retired(leaving), retired(coming)) == ([], [])
    assert retired(over) == [("1", Reason.UNHEALTHY)]


@pytest.mark.parametrize(
    ("nodes", "sick", "limit", "blocked"),
    [(1, 1, "40%", False), (5, 2, "40%", False), (5, 3, "40%", True), (10, 3, 2, True), (2, 1, 0, True)],
)
def test_none_is_repaired_while_more_are_unhealthy_than_the_limit(
    nodes: int, sick: int, limit: int | str, blocked: bool
) -> None:
    pool = pool_of(nodes, unhealthyLimit=limit)
    members = [sick_node(pool, n) if n < sick else ready_node(pool, n) for n in range(nodes)]

    planned = plan(pool, *members)

    assert (retired(planned) == []) is blocked
    assert ("unhealthy-limit" in rules(planned)) is blocked
    expected = (Status.TRUE, Reason.REMEDIATION_BLOCKED) if blocked else (None, Reason.AS_DESIRED)
    assert condition(planned, PoolCondition.STALLED) == expected


@pytest.mark.parametrize(("repairs", "wait_s"), [(2, 0), (3, 300), (4, 600), (5, 1200)])
def test_after_three_repairs_within_an_hour_the_next_waits_ever_longer(repairs: int, wait_s: float) -> None:
    pool = pool_of(3)
    records = [repaired(pool, 0, NOW - 10 - 60 * n) for n in range(repairs)]
    nodes = [ready_node(pool, 0), sick_node(pool, 1), ready_node(pool, 2), *records]

    planned, due = plan(pool, *nodes), plan(pool, *nodes, now=NOW - 10 + wait_s)

    assert (retired(planned) == []) is (wait_s > 0)
    assert ("repair-backoff" in rules(planned)) is (wait_s > 0)
    assert retired(due) == [("1", Reason.UNHEALTHY)]
    if wait_s:
        assert planned.requeue_after_s == wait_s - 10


def test_the_record_of_a_repair_is_kept_for_an_hour_and_no_longer() -> None:
    pool = pool_of(1)
    nodes = [ready_node(pool, 0, since=NOW - 50), repaired(pool, 0, NOW - 100)]

    kept, forgotten = plan(pool, *nodes), plan(pool, *nodes, now=NOW + 3500)

    assert kept.actions == ()
    assert kept.requeue_after_s == 3500
    assert [type(one) for one in forgotten.actions] == [ForgetNode]


def test_a_node_that_a_user_cordoned_is_left_to_its_user() -> None:
    pool = pool_of(3)

    planned = plan(pool, sick_node(pool, 0, unschedulable=True), ready_node(pool, 1), ready_node(pool, 2))

    assert planned.actions == ()
    assert "cordoned" in rules(planned)


def test_what_an_agent_complains_of_may_pass_before_its_node_is_repaired() -> None:
    pool = make_pool(nodes=3)
    observed = ready_node(pool, 0)
    ill = replace(observed, session=make_session(observed.node, problem="the disk is full", since=NOW))
    rest = [ready_node(pool, 1), ready_node(pool, 2)]

    early, late = plan(pool, ill, *rest), plan(pool, ill, *rest, now=NOW + 600)

    assert (retired(early), early.requeue_after_s) == ([], 600)
    assert retired(late) == [("0", Reason.UNHEALTHY)]


def test_repair_waits_while_new_nodes_fail_and_not_for_ever() -> None:
    pool = pool_of(4)
    nodes = [sick_node(pool, 0), *(ready_node(pool, n, since=NOW - 500) for n in (1, 2, 3)), failed_node(pool, 9)]
    recent = [*nodes[:-1], failed_node(pool, 9, at=NOW - 3)]

    assert retired(plan(pool, *recent)) == []
    assert "repair-slow-start" in rules(plan(pool, *recent))
    assert retired(plan(pool, *nodes)) == [("0", Reason.UNHEALTHY)]


@pytest.mark.parametrize("how", ["paused", "unsynced"])
def test_nothing_is_repaired_in_a_world_that_must_be_left_alone(how: str) -> None:
    pool = make_pool(nodes=2, health_check=CHECK, paused=how == "paused")
    observed = observe_pool(pool, [sick_node(pool, 0), ready_node(pool, 1)], synced=how != "unsynced")

    assert plan_pool(observed, NOW).actions == ()


# --- announced losses --------------------------------------------------------------------------------------------


def test_every_announced_loss_is_replaced_at_once_whatever_the_budget() -> None:
    pool = make_pool(nodes=3, max_unavailable=1)
    nodes = [ready_node(pool, slot) for slot in range(3)]
    noticed = [
        replace(one, instance=make_instance(f"instance-{n}", f"launch-{n}", notice=Notice(NOW + 120)))
        for n, one in enumerate(nodes)
    ]

    planned = plan(pool, *noticed)

    assert retired(planned) == [(str(n), Reason.INTERRUPTED) for n in range(3)]
    assert [one.slot for one in planned.actions if isinstance(one, CreateNode)] == [0, 1, 2]
    assert "2025-06-15T15:08:40" in planned.actions[0].message


# --- kept failures -----------------------------------------------------------------------------------------------


def kept_pool(nodes: int) -> Pool:
    return make_pool(nodes=nodes, health_check=CHECK, annotations={"skyward.dev/keep-on-failure": "true"})


def failing(pool: Pool, slot: int, **more: Any) -> ObservedNode:
    node = make_node(pool, slot, launch=f"l{slot}", provider_id=f"i{slot}", failure="it broke", **more)
    return observe_node(node, instance=make_instance(f"i{slot}", f"l{slot}"))


def test_a_failed_node_is_kept_holds_no_slot_and_is_not_counted_as_leaving() -> None:
    pool = kept_pool(1)

    planned = plan(pool, failing(pool, 0), ready_node(make_pool(nodes=1, health_check=CHECK), 5))

    assert not retired(planned)
    assert plan(make_pool(nodes=1), failing(make_pool(nodes=1), 0)).actions != ()


def test_the_annotation_of_a_node_stands_above_that_of_its_pool() -> None:
    pool = kept_pool(1)

    planned = plan(pool, failing(pool, 0, annotations={"skyward.dev/keep-on-failure": "false"}))

    assert retired(planned) == [("0", Reason.NODE_FAILED)]


def test_an_unhealthy_node_is_given_up_instead_of_retired_where_failures_are_kept() -> None:
    pool = kept_pool(3)

    planned = plan(pool, sick_node(pool, 0), ready_node(pool, 1), ready_node(pool, 2))

    assert [type(one) for one in planned.actions] == [KeepNode, CreateNode]


def test_no_more_than_so_many_are_kept() -> None:
    pool = kept_pool(0)
    nodes = [failing(pool, n, created_at=NOW - 1000 + n) for n in range(MOST_KEPT + 2)]

    assert [slot for slot, _ in retired(plan(pool, *nodes))] == ["3", "4"]


# --- hosts -------------------------------------------------------------------------------------------------------


def failure(host: str, at: float, node: str = "n") -> HostFailure:
    return HostFailure("local", host, f"{node}-{host}-{at}", at, "it broke")


@pytest.mark.parametrize(("failures", "shunned_s"), [(1, FIRST_S), (2, 2 * FIRST_S), (3, 4 * FIRST_S)])
def test_a_host_is_shunned_longer_with_each_failure_and_then_forgiven(failures: int, shunned_s: float) -> None:
    found = [failure("a", NOW - n) for n in range(failures)]

    (during,) = shun(found, NOW + shunned_s - 1)

    assert (during.host_id, during.failures, during.until) == ("a", failures, NOW + shunned_s)
    assert shun(found, NOW + shunned_s) == ()
    assert shun([failure("a", NOW - MEMORY_S) for _ in range(9)], NOW) == ()


def test_an_offering_of_a_shunned_host_is_left_out_and_said_so() -> None:
    bad, good = make_offering("bad", usd_per_hour=1, host_id="a"), make_offering("good", usd_per_hour=2, host_id="b")
    market: ObservedMarket = replace(make_market(bad, good), shunned=shun([failure("a", NOW - 1)], NOW))

    chosen = choose_offering(Shopping.at(provider_specs("local")), without_shunned(market), NOW)
    none_left = choose_offering(
        Shopping.at(provider_specs("local")), without_shunned(replace(market, offerings=(bad,))), NOW
    )

    assert chosen.offering == good
    assert "1 left out because of their hosts" in chosen.message
    assert (none_left.offering, none_left.reason, none_left.retry_at) == (None, Reason.HOST_SHUNNED, NOW - 1 + FIRST_S)
    assert "a node failed on host a lately, the newest: it broke" in none_left.message
