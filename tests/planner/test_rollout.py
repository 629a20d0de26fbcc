"""Roll-outs, rule by rule. Their histories are in `golden/rollouts`, the laws for every world in `tests/properties`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, PoolCondition, Reason, Status, find, to_time
from skyward.api.meta import DO_NOT_DISRUPT, REPLACE, RESTARTED
from skyward.facts import DecisionKind, ObservedNode
from skyward.planner import NodeRules, PoolPlan, apply_updates, plan_node, plan_pool
from tests.builders import NOW, failed_node, make_market, make_pool, observe_pool, pending_node, ready_node
from tests.planner.test_pool_plan import OLD, condition, created, plan, retired

RULES = NodeRules(started_at=NOW - 1, has_token=True, visibility_s=0, absence_s=0, same_host=True)


def rolling(nodes: int = 3, **rollout: Any) -> Pool:
    return make_pool(nodes=nodes, rollout=rollout)


def old_nodes(pool: Pool, count: int = 3, **more: Any) -> list[ObservedNode]:
    return [ready_node(pool, slot, template=OLD, **more) for slot in range(count)]


def slots(planned: PoolPlan) -> list[str]:
    return [slot for slot, _ in retired(planned)]


def stands(planned: PoolPlan) -> list[tuple[DecisionKind, str, Reason]]:
    return [(one.kind, one.rule, one.reason) for one in planned.decisions]


def says(planned: PoolPlan, type_: PoolCondition) -> str:
    return next(update.message for update in planned.conditions if update.type == type_)


# --- minReady --------------------------------------------------------------------------------------------------------


def test_a_node_counts_as_available_only_when_it_was_ready_for_long_enough() -> None:
    pool = rolling(minReady="1m")
    nodes = [ready_node(pool, 0, since=NOW - 61), ready_node(pool, 1, since=NOW - 60), pending_node(pool, 2)]

    observed = observe_pool(pool, nodes)

    assert plan_pool(observed, NOW).counts.available == 1
    assert plan_pool(observed, NOW + 1).counts.available == 2
    assert plan_pool(observed, NOW).requeue_after_s == 1


def test_a_roll_out_waits_until_the_new_node_has_proved_itself() -> None:
    pool = rolling(minReady="1m")
    nodes = [*old_nodes(pool, 2), ready_node(pool, 2, since=NOW - 30)]

    planned = plan(pool, *nodes)

    assert planned.actions == ()
    assert planned.requeue_after_s == 31
    assert "min-ready" in [one.rule for one in planned.decisions]
    assert slots(plan(pool, *nodes, now=NOW + 31)) == ["1"]


def test_an_old_node_that_does_not_count_as_available_costs_nothing() -> None:
    pool = rolling(minReady="1m")
    flapping = ready_node(pool, 0, template=OLD, since=NOW - 5)

    planned = plan(pool, flapping, *[ready_node(pool, slot, template=OLD) for slot in (1, 2)])

    assert slots(planned) == ["0"]


# --- launch before drain ---------------------------------------------------------------------------------------------


def test_with_surge_each_old_node_leaves_only_against_a_new_one_that_serves() -> None:
    pool = rolling(4, maxUnavailable=2, maxSurge=2)
    old = old_nodes(pool, 4)

    assert slots(plan(pool, *old)) == []
    assert created(plan(pool, *old)) == [4, 5]
    assert slots(plan(pool, *old, ready_node(pool, 4), pending_node(pool, 5))) == ["3"]


def test_with_surge_a_loss_keeps_the_old_nodes() -> None:
    pool = rolling(3, maxSurge=1)

    planned = plan(pool, *old_nodes(pool, 2), pending_node(pool, 2), ready_node(pool, 3))

    assert planned.actions == ()
    assert stands(planned) == [(DecisionKind.WAIT, "launch-before-drain", Reason.REPLACEMENT_PENDING)]


def test_the_surge_is_made_only_for_nodes_that_may_leave() -> None:
    pool = rolling(2, maxUnavailable=0, maxSurge=2)
    protected = ready_node(pool, 0, template=OLD, annotations={DO_NOT_DISRUPT: "true"})

    assert created(plan(pool, protected, ready_node(pool, 1, template=OLD))) == [2]


# --- canary ----------------------------------------------------------------------------------------------------------


def test_only_canaries_are_made_until_they_are_available() -> None:
    pool = rolling(6, maxUnavailable=4, canary=2, minReady="1m")
    old = old_nodes(pool, 6)

    assert len(slots(plan(pool, *old))) == 2
    young = [ready_node(pool, slot, since=NOW - 10) for slot in (4, 5)]
    waiting = plan(pool, *old[:4], *young)
    assert waiting.actions == ()
    assert [one.rule for one in waiting.decisions] == ["min-ready", "canary"]
    assert len(slots(plan(pool, *old[:4], *young, now=NOW + 60))) == 4


def test_the_replacement_of_a_lost_node_is_a_canary() -> None:
    pool = rolling(4, maxUnavailable=2, canary=1)

    planned = plan(pool, *old_nodes(pool, 3), pending_node(pool, 3))

    assert planned.actions == ()


def test_outdated_nodes_that_never_served_wait_for_the_canary_too() -> None:
    pool = rolling(4, canary=1)

    planned = plan(pool, *(pending_node(pool, slot, template=OLD) for slot in range(4)))

    assert len(slots(planned)) == 1


def test_nobody_gives_way_to_a_canary_that_has_its_place_in_the_surge_and_waits_for_something_else() -> None:
    """A delay after a failure, a closed budget: whatever keeps it from being made takes no second node."""
    pool = rolling(2, maxUnavailable=0, maxSurge=1, canary=2)
    nodes = [ready_node(pool, 2), *(pending_node(pool, slot, template=OLD) for slot in (0, 3))]
    just_failed = failed_node(pool, 4, at=NOW - 1)

    assert slots(plan(pool, *nodes, just_failed)) == ["3"]
    assert slots(plan(pool, *nodes[:2], just_failed)) == []


def test_a_canary_that_fails_costs_no_other_node() -> None:
    pool = rolling(4, maxUnavailable=3, canary=1)
    records = [failed_node(pool, 3, at=NOW - 1000 - number) for number in range(3)]

    planned = plan(pool, *old_nodes(pool, 3), *records)

    assert planned.actions == ()
    assert (DecisionKind.HOLD, "template-stopped", Reason.TEMPLATE_FAILING) in stands(planned)


@pytest.mark.parametrize(("failed_at", "expected"), [(NOW - 5, 0), (NOW - 20, 1)], ids=["too early", "one is tried"])
def test_while_a_template_fails_no_more_nodes_are_given_up_than_may_be_made_anew(
    failed_at: float, expected: int
) -> None:
    pool = rolling(5, maxUnavailable=4)

    planned = plan(pool, *old_nodes(pool, 5), failed_node(pool, 5, at=failed_at))

    assert (len(slots(planned)), len(created(planned))) == (expected, expected)


# --- strategies ------------------------------------------------------------------------------------------------------


def test_recreate_takes_all_and_makes_none_while_an_old_one_is_there() -> None:
    pool = rolling(strategy="Recreate")
    going = [ready_node(pool, slot, template=OLD, deleted_at=NOW) for slot in range(3)]

    first, second = plan(pool, *old_nodes(pool)), plan(pool, *going)

    assert (len(slots(first)), created(first)) == (3, [])
    assert second.actions == ()
    assert stands(second) == [(DecisionKind.WAIT, "recreate", Reason.REPLACEMENT_PENDING)]
    assert created(plan(pool)) == [0, 1, 2]


def test_recreate_begins_only_when_a_budget_lets_all_go() -> None:
    def pool(allowed: int) -> Pool:
        return make_pool(nodes=3, rollout={"strategy": "Recreate"}, disruption={"budgets": [{"nodes": allowed}]})

    held = plan(pool(2), *old_nodes(pool(2)))

    assert held.actions == ()
    assert stands(held) == [(DecisionKind.HOLD, "disruption-budget", Reason.BUDGET_EXHAUSTED)]
    assert len(slots(plan(pool(3), *old_nodes(pool(3))))) == 3


def test_on_delete_waits_for_the_user_and_says_so() -> None:
    pool = rolling(strategy="OnDelete")

    planned = plan(pool, *old_nodes(pool))

    assert planned.actions == ()
    assert stands(planned) == [(DecisionKind.WAIT, "on-delete", Reason.ON_DELETE)]
    assert condition(planned, PoolCondition.ROLLING_OUT) == (Status.FALSE, Reason.ON_DELETE)
    assert condition(planned, PoolCondition.NODES_UP_TO_DATE) == (Status.FALSE, Reason.TEMPLATE_CHANGED)
    assert condition(planned, PoolCondition.READY)[0] is Status.TRUE


def test_on_delete_replaces_what_the_user_asks_for_within_the_bounds() -> None:
    pool = rolling(strategy="OnDelete", maxUnavailable=1)
    asked = [ready_node(pool, slot, template=OLD, annotations={REPLACE: "true"}) for slot in (1, 2)]

    planned = plan(pool, ready_node(pool, 0, template=OLD), *asked)

    assert retired(planned) == [("2", Reason.REPLACE_REQUESTED)]
    assert created(planned) == [2]


def test_nothing_is_replaced_before_its_time_but_on_request() -> None:
    pool = rolling(notBefore=to_time(NOW + 100).isoformat())
    asked = ready_node(pool, 1, template=OLD, annotations={REPLACE: "true"})

    early = plan(pool, *old_nodes(pool))

    assert (early.actions, early.requeue_after_s) == ((), 100)
    assert condition(early, PoolCondition.ROLLING_OUT) == (Status.FALSE, Reason.NOT_BEFORE)
    assert to_time(NOW + 100).isoformat() in says(early, PoolCondition.ROLLING_OUT)
    assert slots(plan(pool, ready_node(pool, 0, template=OLD), asked, ready_node(pool, 2, template=OLD))) == ["1"]
    assert slots(plan(pool, *old_nodes(pool), now=NOW + 100)) == ["2"]


# --- budgets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "leaving", "expected"),
    [
        pytest.param({"nodes": 2}, 0, 2, id="stricter than maxUnavailable"),
        pytest.param({"nodes": 5}, 0, 3, id="maxUnavailable is stricter"),
        pytest.param({"nodes": 2}, 1, 1, id="those on their way out count"),
        pytest.param({"nodes": "0%"}, 0, 0, id="none"),
        pytest.param({"nodes": 0, "schedule": "0 15 * * *", "duration": "1h"}, 0, 0, id="closed now"),
        pytest.param({"nodes": 0, "schedule": "0 16 * * *", "duration": "1h"}, 0, 3, id="closed later"),
    ],
)
def test_the_stricter_of_budget_and_roll_out_holds(budget: dict[str, Any], leaving: int, expected: int) -> None:
    pool = make_pool(nodes=6, max_unavailable=3, disruption={"budgets": [budget]})
    going = [ready_node(pool, 10 + slot, template=OLD, deleted_at=NOW) for slot in range(leaving)]

    assert len(slots(plan(pool, *old_nodes(pool, 6), *going))) == expected


def test_a_closed_budget_says_so_makes_no_surge_and_is_looked_at_again() -> None:
    closed = {"nodes": 0, "schedule": "0 15 * * *", "duration": "1h"}
    pool = make_pool(nodes=2, max_unavailable=0, max_surge=1, disruption={"budgets": [closed]})

    planned = plan(pool, *old_nodes(pool, 2))

    assert planned.actions == ()
    assert planned.requeue_after_s == 3200
    assert stands(planned) == [(DecisionKind.HOLD, "disruption-budget", Reason.BUDGET_EXHAUSTED)]


def test_a_budget_does_not_hold_a_scale_down_back() -> None:
    pool = make_pool(nodes=1, disruption={"budgets": [{"nodes": 0}]})

    assert slots(plan(pool, *(ready_node(pool, slot) for slot in range(3)))) == ["2", "1"]


# --- what users ask for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["pool", "node"])
def test_a_protected_node_is_never_replaced_by_choice(on: str) -> None:
    mark = {DO_NOT_DISRUPT: "true"}
    pool = make_pool(nodes=1, annotations=mark if on == "pool" else None)
    node = ready_node(pool, 0, template=OLD, annotations=mark if on == "node" else None)

    planned = plan(pool, node)

    assert planned.actions == ()
    assert stands(planned) == [(DecisionKind.HOLD, "do-not-disrupt", Reason.DO_NOT_DISRUPT)]
    assert node.node.metadata.name in says(planned, PoolCondition.ROLLING_OUT)
    told = plan_node(node, pool, make_market(), RULES, NOW)
    assert [(one.rule, one.target) for one in told.decisions] == [("do-not-disrupt", "")]


def test_a_protected_node_is_the_last_to_go_when_fewer_are_wanted() -> None:
    pool = make_pool(nodes=1)
    protected = ready_node(pool, 2, annotations={DO_NOT_DISRUPT: "true"})

    assert slots(plan(pool, ready_node(pool, 0), ready_node(pool, 1), protected)) == ["1", "0"]
    assert slots(plan(make_pool(nodes=0), protected)) == ["2"]


def test_do_not_disrupt_that_says_false_protects_nothing() -> None:
    pool = make_pool(nodes=1)

    assert slots(plan(pool, ready_node(pool, 0, template=OLD, annotations={DO_NOT_DISRUPT: "false"}))) == ["0"]


def test_a_restart_replaces_what_was_made_before() -> None:
    pool = make_pool(nodes=3, annotations={RESTARTED: to_time(NOW - 100).isoformat()})
    nodes = [ready_node(pool, slot, created_at=NOW - 101 + slot) for slot in range(3)]

    planned = plan(pool, *nodes)

    assert retired(planned) == [("0", Reason.RESTART_REQUESTED)]
    assert condition(planned, PoolCondition.ROLLING_OUT) == (Status.TRUE, Reason.RESTART_REQUESTED)


def test_a_restart_that_another_clock_dates_ahead_counts_when_its_time_comes() -> None:
    pool = make_pool(nodes=1, annotations={RESTARTED: to_time(NOW + 7).isoformat()})
    node = ready_node(pool, 0)

    early = plan(pool, node)

    assert (early.actions, early.requeue_after_s) == ((), 7)
    assert slots(plan(pool, node, now=NOW + 7)) == ["0"]


# --- drift -----------------------------------------------------------------------------------------------------------


def drifted(node: ObservedNode, pool: Pool) -> tuple[Reason, str] | None:
    conditions = apply_updates((), plan_node(node, pool, make_market(), RULES, NOW).conditions, NOW)
    found = find(conditions, NodeCondition.DRIFTED)
    return None if found is None else (found.reason, found.message)


def test_a_drifted_node_names_each_field_that_differs() -> None:
    before = make_pool(nodes=1, image={"env": {"A": "1"}, "python": "3.11"})
    pool = make_pool(nodes=1, image={"env": {"A": "2"}, "pip": ["numpy"]})
    node = ready_node(before, 0)

    message = 'image.env.A: "1" → "2"; image.pip.packages added: ["numpy"]; image.python removed: "3.11"'

    assert drifted(node, pool) == (Reason.TEMPLATE_CHANGED, message)
    assert plan(pool, node).actions[0].message == message


def test_of_many_differences_the_first_are_named_and_the_rest_counted() -> None:
    before = make_pool(nodes=1, image={"env": {name: "1" for name in "ABCDE"}})

    found = drifted(ready_node(before, 0), make_pool(nodes=1, image={"env": {name: "2" for name in "ABCDE"}}))

    assert found is not None
    assert found[1].endswith("; and 2 more")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"annotations": {REPLACE: "true"}}, Reason.REPLACE_REQUESTED),
        ({"created_at": NOW - 5000}, Reason.RESTART_REQUESTED),
        ({}, None),
    ],
    ids=["replace", "restart", "as wanted"],
)
def test_each_reason_to_replace_a_node_is_its_own(change: dict[str, Any], reason: Reason | None) -> None:
    pool = make_pool(nodes=1, annotations={RESTARTED: to_time(NOW - 4000).isoformat()})

    found = drifted(ready_node(pool, 0, **change), pool)

    assert (None if found is None else found[0]) is reason


def test_an_instance_that_changed_is_told_in_its_drivers_words() -> None:
    pool = make_pool(nodes=1)
    node = replace(ready_node(pool, 0), drift="it has one GPU less")

    assert drifted(node, pool) == (Reason.INSTANCE_DRIFTED, "its instance changed: it has one GPU less")
    assert retired(plan(pool, node)) == [("0", Reason.INSTANCE_DRIFTED)]


# --- decisions -------------------------------------------------------------------------------------------------------


def test_a_paused_pool_holds_everything_and_says_so() -> None:
    pool = make_pool(nodes=3, paused=True)

    planned = plan(pool, *old_nodes(pool))

    assert stands(planned) == [(DecisionKind.HOLD, "paused", Reason.PAUSED)]
    assert condition(planned, PoolCondition.ROLLING_OUT) == (Status.FALSE, Reason.PAUSED)


def test_an_exhausted_budget_tells_its_numbers() -> None:
    pool = make_pool(nodes=3)

    planned = plan(pool, *old_nodes(pool, 2), pending_node(pool, 2))

    [decision] = planned.decisions
    assert (decision.rule, decision.inputs) == ("disruption-budget", (("available", 2), ("floor", 2)))
    assert decision.message in says(planned, PoolCondition.ROLLING_OUT)


def test_every_action_tells_its_rule_and_numbers() -> None:
    pool = make_pool(nodes=3)

    retire, create = plan(pool, *old_nodes(pool)).actions

    assert (retire.rule, dict(retire.inputs)) == ("roll-out", {"nodes": 3, "available": 3, "floor": 2})  # type: ignore[union-attr]
    assert (create.rule, dict(create.inputs)) == ("roll-out", {"nodes": 3, "standing": 2, "upToDate": 0})  # type: ignore[union-attr]


def test_a_pool_at_rest_decides_nothing() -> None:
    pool = make_pool(nodes=3, disruption={"budgets": [{"nodes": 0, "schedule": "0 15 * * *", "duration": "1h"}]})

    planned = plan(pool, *(ready_node(pool, slot) for slot in range(3)))

    assert (planned.actions, planned.decisions, planned.requeue_after_s) == ((), (), None)


def test_a_pool_that_wants_nothing_keeps_no_old_node_as_surge() -> None:
    pool = rolling(nodes=0, maxSurge=2, maxUnavailable=0)

    planned = plan(pool, *old_nodes(pool, 2), failed_node(pool, 2, at=NOW - 5))

    assert sorted(slots(planned)) == ["0", "1"]
