"""`plan_pool`, rule by rule. The laws that hold in every world are in `tests/properties`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, PoolCondition, Reason, Status, to_time
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.facts import InstanceState, ObservedNode
from skyward.planner import REPLACE, CreateNode, ForgetNode, PoolPlan, RetireNode, plan_pool, world
from tests.builders import (
    NOW,
    failed_node,
    make_condition,
    make_instance,
    make_node,
    make_pool,
    observe_node,
    observe_pool,
    pending_node,
    ready_conditions,
    ready_node,
)

OLD = "0" * 16


def plan(pool: Pool, *nodes: ObservedNode, now: float = NOW, synced: bool = True) -> PoolPlan:
    return plan_pool(observe_pool(pool, nodes, synced=synced), now)


def created(planned: PoolPlan) -> list[int]:
    return [action.slot for action in planned.actions if isinstance(action, CreateNode)]


def retired(planned: PoolPlan) -> list[tuple[str, Reason]]:
    """Slots come out of the names."""
    found = [action for action in planned.actions if isinstance(action, RetireNode)]
    return [(action.node.split("-")[1], action.reason) for action in found]


def condition(planned: PoolPlan, type_: PoolCondition) -> tuple[Status | None, Reason]:
    return next((update.status, update.reason) for update in planned.conditions if update.type == type_)


def unsure_node(pool: Pool, slot: int, **more: Any) -> ObservedNode:
    """It was ready; the operator was restarted and has not seen its agent yet."""
    unknown = make_condition(NodeCondition.READY, Status.UNKNOWN, Reason.AGENT_LOST)
    conditions = [one for one in ready_conditions() if one.type != NodeCondition.READY]
    return observe_node(make_node(pool, slot, conditions=[*conditions, unknown], **more))


# --- size --------------------------------------------------------------------------------------------------------


def test_fills_the_lowest_free_slots() -> None:
    pool = make_pool(nodes=4)

    assert created(plan(pool, ready_node(pool, 1), ready_node(pool, 5))) == [0, 2]


def test_scale_down_takes_the_highest_slots() -> None:
    pool = make_pool(nodes=1)

    planned = plan(pool, *(ready_node(pool, slot) for slot in range(3)))

    assert retired(planned) == [("2", Reason.TOO_MANY_NODES), ("1", Reason.TOO_MANY_NODES)]
    assert condition(planned, PoolCondition.SCALING_DOWN) == (Status.TRUE, Reason.TOO_MANY_NODES)
    assert condition(planned, PoolCondition.READY)[0] is Status.TRUE


def test_scale_down_takes_what_serves_least() -> None:
    pool = make_pool(nodes=1)

    planned = plan(pool, pending_node(pool, 0), unsure_node(pool, 1), ready_node(pool, 2))

    assert [slot for slot, _ in retired(planned)] == ["0", "1"]


def test_a_leaving_node_does_not_hold_its_slot() -> None:
    pool = make_pool(nodes=2)

    assert created(plan(pool, ready_node(pool, 0), ready_node(pool, 1, deleted_at=NOW))) == [1]


@pytest.mark.parametrize("state", [InstanceState.PREEMPTED, InstanceState.FAILED])
def test_a_lost_node_that_served_is_replaced_at_once(state: InstanceState) -> None:
    pool = make_pool(nodes=2)
    lost = replace(ready_node(pool, 1), instance=make_instance("instance-1", "launch-1", state))

    planned = plan(pool, ready_node(pool, 0), lost)

    reason = Reason.INTERRUPTED if state is InstanceState.PREEMPTED else Reason.NODE_LOST
    assert retired(planned) == [("1", reason)]
    assert created(planned) == [1]
    assert condition(planned, PoolCondition.REMEDIATING)[0] is Status.TRUE


def test_a_lost_node_that_never_served_waits_for_its_failure_to_be_written() -> None:
    pool = make_pool(nodes=1)
    lost = observe_node(
        make_node(pool, 0, launch="launch-1", provider_id="instance-1"),
        instance=make_instance(state=InstanceState.FAILED),
    )

    assert plan(pool, lost).actions == ()


# --- restraint ---------------------------------------------------------------------------------------------------


def test_an_incomplete_picture_leads_to_no_action_and_says_what_is_missing() -> None:
    pool = make_pool(nodes=3)

    planned = plan(pool, failed_node(pool, 0, gone=False), synced=False)

    provider_ready = next(update for update in planned.conditions if update.type == PoolCondition.PROVIDER_READY)
    assert planned.actions == ()
    assert provider_ready.reason is Reason.NOT_SYNCED
    assert "local" in provider_ready.message


def test_a_paused_pool_is_only_reported() -> None:
    pool = make_pool(nodes=3, paused=True)

    planned = plan(pool, ready_node(pool, 0))

    assert planned.actions == ()
    assert condition(planned, PoolCondition.PAUSED) == (Status.TRUE, Reason.PAUSED)


def test_a_deleted_pool_retires_all_and_forgets_what_is_gone() -> None:
    pool = make_pool(nodes=2, deleted_at=NOW)

    planned = plan(pool, ready_node(pool, 0), pending_node(pool, 1), failed_node(pool, 1))

    assert retired(planned) == [("0", Reason.POOL_DELETED), ("1", Reason.POOL_DELETED)]
    assert sum(isinstance(action, ForgetNode) for action in planned.actions) == 1
    assert created(planned) == []
    assert condition(planned, PoolCondition.DELETING) == (Status.TRUE, Reason.POOL_DELETED)


def test_a_deleted_pool_marks_its_nodes_even_without_a_listing() -> None:
    pool = make_pool(nodes=1, deleted_at=NOW, paused=True)

    planned = plan(pool, ready_node(pool, 0), failed_node(pool, 0), synced=False)

    assert [type(action) for action in planned.actions] == [RetireNode]


# --- rolling update ----------------------------------------------------------------------------------------------


def test_outdated_nodes_that_never_served_go_freely() -> None:
    pool = make_pool(nodes=3)

    planned = plan(pool, *(pending_node(pool, slot, template=OLD) for slot in range(3)))

    assert len(retired(planned)) == 3
    assert created(planned) == [0, 1, 2]


def test_a_loss_without_our_doing_holds_the_roll_out_back() -> None:
    pool = make_pool(nodes=3)
    working = [ready_node(pool, slot, template=OLD) for slot in range(2)]

    planned = plan(pool, *working, pending_node(pool, 2))

    assert planned.actions == ()
    assert condition(planned, PoolCondition.ROLLING_OUT) == (Status.TRUE, Reason.TEMPLATE_CHANGED)


def test_an_operator_restart_during_a_roll_out_costs_no_working_node() -> None:
    pool = make_pool(nodes=4, max_unavailable=2)

    planned = plan(pool, *(unsure_node(pool, slot, template=OLD) for slot in range(4)))

    assert planned.actions == ()


@pytest.mark.parametrize(
    ("unavailable", "surge", "gone", "new"),
    [
        pytest.param(1, 0, 1, 1, id="one at a time"),
        pytest.param(2, 0, 2, 2, id="two at a time"),
        pytest.param(0, 1, 0, 1, id="new first"),
        pytest.param(1, 1, 0, 1, id="surge proves the template before anything is given up"),
        pytest.param("50%", 0, 2, 2, id="half"),
        pytest.param("10%", "0%", 1, 1, id="shares that come to nothing still move"),
    ],
)
def test_the_first_step_of_a_roll_out(unavailable: int | str, surge: int | str, gone: int, new: int) -> None:
    pool = make_pool(nodes=4, max_unavailable=unavailable, max_surge=surge)

    planned = plan(pool, *(ready_node(pool, slot, template=OLD) for slot in range(4)))

    assert len(retired(planned)) == gone
    assert len(created(planned)) == new


def test_surge_nodes_get_slots_above_nodes() -> None:
    pool = make_pool(nodes=2, max_unavailable=0, max_surge=2)

    assert created(plan(pool, *(ready_node(pool, slot, template=OLD) for slot in range(2)))) == [2, 3]


def test_a_template_edited_twice_does_not_block_itself() -> None:
    pool = make_pool(nodes=2, max_unavailable=0, max_surge=1)
    both = [
        ready_node(pool, 0, template=OLD),
        ready_node(pool, 1, template=OLD),
        ready_node(pool, 2, template="1" * 16),
    ]

    planned = plan(pool, *both)

    assert len(retired(planned)) == 1
    assert len(created(planned)) == 1


def test_a_node_may_be_replaced_on_request_within_the_budget() -> None:
    pool = make_pool(nodes=3)
    asked = [ready_node(pool, slot, annotations={REPLACE: "true"}) for slot in range(2)]

    planned = plan(pool, *asked, ready_node(pool, 2))

    assert retired(planned) == [("1", Reason.REPLACE_REQUESTED)]
    assert created(planned) == [1]


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failed_node_is_retired_and_the_next_waits() -> None:
    pool = make_pool(nodes=2)
    failed = observe_node(make_node(pool, 1, failure="no such package\nlast lines"))

    planned = plan(pool, ready_node(pool, 0), failed)

    assert retired(planned) == [("1", Reason.NODE_FAILED)]
    assert created(planned) == []
    assert planned.requeue_after_s == 10


@pytest.mark.parametrize(("failures", "delay"), [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160)])
def test_each_failure_in_a_row_doubles_the_wait(failures: int, delay: int) -> None:
    pool = make_pool(nodes=2)
    records = [failed_node(pool, 1, at=NOW - number) for number in range(failures)]
    working = ready_node(pool, 0, since=NOW - 300)

    assert plan(pool, working, *records).requeue_after_s == delay
    assert created(plan(pool, working, *records, now=NOW + delay - 0.5)) == []
    assert created(plan(pool, working, *records, now=NOW + delay)) == [1]


def test_after_a_failure_one_node_at_a_time_is_tried() -> None:
    pool = make_pool(nodes=5)
    record = failed_node(pool, 0, at=NOW - 20)

    assert created(plan(pool, record)) == [0]
    assert created(plan(pool, record, pending_node(pool, 0))) == []


def test_three_failures_of_a_template_that_never_worked_stop_it() -> None:
    pool = make_pool(nodes=2)
    records = [failed_node(pool, 0, at=NOW - 1000 - number, failure=f"broken {number}") for number in range(3)]

    planned = plan(pool, *records)

    stalled = next(update for update in planned.conditions if update.type == PoolCondition.STALLED)
    assert planned.actions == ()
    assert planned.requeue_after_s is None
    assert stalled.reason is Reason.TEMPLATE_FAILING
    assert "broken 0" in stalled.message
    assert RECONCILE_REQUESTED in stalled.message
    assert condition(planned, PoolCondition.READY) == (Status.FALSE, Reason.TEMPLATE_FAILING)


def test_a_pool_that_wants_no_node_is_not_stalled_by_its_template_and_forgets_no_failure() -> None:
    records = [failed_node(make_pool(nodes=2), 0, at=NOW - 100 - number) for number in range(3)]

    at_rest = plan(make_pool(nodes=0), *records)
    again = plan(make_pool(nodes=2), *records)

    assert (at_rest.actions, at_rest.requeue_after_s, at_rest.decisions) == ((), None, ())
    assert all(update.status is None for update in at_rest.conditions if update.type == PoolCondition.STALLED)
    assert condition(at_rest, PoolCondition.READY) == (Status.TRUE, Reason.AS_DESIRED)
    assert condition(at_rest, PoolCondition.REMEDIATING) == (Status.FALSE, Reason.AS_DESIRED)
    assert again.actions == ()
    assert condition(again, PoolCondition.READY) == (Status.FALSE, Reason.TEMPLATE_FAILING)


def test_a_stopped_template_takes_no_node_of_the_old_one() -> None:
    pool = make_pool(nodes=3)
    records = [failed_node(pool, 2, at=NOW - 1000 - number) for number in range(3)]

    planned = plan(pool, ready_node(pool, 0, template=OLD), pending_node(pool, 1, template=OLD), *records)

    assert planned.actions == ()


def test_a_template_that_worked_once_is_never_stopped() -> None:
    pool = make_pool(nodes=2)
    records = [failed_node(pool, 1, at=NOW - 200 - number) for number in range(5)]

    planned = plan(pool, ready_node(pool, 0, since=NOW - 2000), *records)

    assert created(planned) == [1]


def test_a_node_lost_after_it_served_does_not_count_against_its_template() -> None:
    pool = make_pool(nodes=1)
    conditions = [*ready_conditions()[:4], make_condition(NodeCondition.TERMINATING, Status.FALSE, Reason.GONE)]
    lost = make_node(pool, 0, suffix="lost", failure="taken away", deleted_at=NOW, conditions=conditions)

    assert created(plan(pool, observe_node(lost))) == [0]


@pytest.mark.parametrize(("asked", "slots"), [(NOW - 1500, []), (NOW - 999, [0, 1])], ids=["before", "after"])
def test_a_user_may_ask_to_try_again(asked: float, slots: list[int]) -> None:
    pool = make_pool(nodes=2, annotations={RECONCILE_REQUESTED: to_time(asked).isoformat()})
    records = [failed_node(pool, 0, at=NOW - 1000 - number) for number in range(3)]

    assert created(plan(pool, *records)) == slots


def test_a_request_that_another_clock_dates_ahead_counts_when_its_time_comes() -> None:
    pool = make_pool(nodes=1, annotations={RECONCILE_REQUESTED: to_time(NOW + 7).isoformat()})
    records = [failed_node(pool, 0, at=NOW - 1000 - number) for number in range(3)]

    planned = plan(pool, *records)

    assert (created(planned), planned.requeue_after_s) == ([], 7)
    assert created(plan(pool, *records, now=NOW + 7)) == [0]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        pytest.param(None, Reason.READY, id="a later node became ready"),
        pytest.param(OLD, Reason.TEMPLATE_CHANGED, id="the template changed"),
    ],
)
def test_records_that_tell_nothing_are_forgotten(template: str | None, reason: Reason) -> None:
    pool = make_pool(nodes=1)
    failed = failed_node(pool, 0, at=NOW - 500, template=template)

    planned = plan(pool, failed, ready_node(pool, 0, since=NOW - 300))

    assert [(type(action), action.reason) for action in planned.actions] == [(ForgetNode, reason)]


def test_only_the_newest_failures_are_kept() -> None:
    pool = make_pool(nodes=1)
    records = [failed_node(pool, 0, at=NOW - 100 - number) for number in range(7)]

    forgotten = [action.node for action in plan(pool, *records).actions if isinstance(action, ForgetNode)]

    assert forgotten == [records[6].node.key]


# --- status ------------------------------------------------------------------------------------------------------


def test_a_refusal_that_needs_a_human_stalls_the_pool() -> None:
    pool = make_pool(nodes=1)
    message = "the provider refuses the credentials; renew them"
    refused = make_condition(NodeCondition.LAUNCHED, Status.FALSE, Reason.CREDENTIALS_REJECTED, message)

    planned = plan(pool, pending_node(pool, 0, conditions=[refused]))

    assert condition(planned, PoolCondition.CAPACITY_AVAILABLE) == (Status.FALSE, Reason.CREDENTIALS_REJECTED)
    assert condition(planned, PoolCondition.STALLED) == (Status.TRUE, Reason.CREDENTIALS_REJECTED)


def test_a_lack_of_capacity_is_told_and_stalls_nothing() -> None:
    pool = make_pool(nodes=1)
    refused = make_condition(NodeCondition.LAUNCHED, Status.FALSE, Reason.INSUFFICIENT_CAPACITY, "sold out")

    planned = plan(pool, pending_node(pool, 0, conditions=[refused]))

    assert condition(planned, PoolCondition.READY) == (Status.FALSE, Reason.INSUFFICIENT_CAPACITY)
    assert condition(planned, PoolCondition.STALLED)[0] is None


def test_a_pool_as_desired_says_so() -> None:
    pool = make_pool(nodes=2)

    planned = plan(pool, ready_node(pool, 0), ready_node(pool, 1))

    assert planned.actions == ()
    assert planned.requeue_after_s is None
    for type_ in ("ProviderReady", "CapacityAvailable", "NodesReady", "NodesUpToDate", "Available", "Ready"):
        assert condition(planned, PoolCondition(type_))[0] is Status.TRUE
    for type_ in ("ScalingUp", "ScalingDown", "RollingOut", "Remediating"):
        assert condition(planned, PoolCondition(type_))[0] is Status.FALSE


def test_a_pool_at_zero_is_ready() -> None:
    assert condition(plan(make_pool(nodes=0)), PoolCondition.READY)[0] is Status.TRUE


def test_counts_what_the_status_shows() -> None:
    pool = make_pool(nodes=5)
    nodes = [
        ready_node(pool, 0),
        ready_node(pool, 1, unschedulable=True),
        ready_node(pool, 2, template=OLD),
        pending_node(pool, 3),
        failed_node(pool, 4),
        failed_node(pool, 4, gone=False, suffix="going"),
    ]

    counts = plan_pool(observe_pool(pool, nodes), NOW).counts

    assert (counts.nodes, counts.ready, counts.available, counts.up_to_date, counts.pending) == (5, 3, 2, 3, 1)


def test_ranks_follow_the_slots_of_the_ready_nodes() -> None:
    pool = make_pool(nodes=5)
    nodes = [
        ready_node(pool, 4),
        ready_node(pool, 1),
        pending_node(pool, 0),
        ready_node(pool, 2, deleted_at=NOW),
        ready_node(pool, 3, unschedulable=True),
        ready_node(pool, 0, suffix="bad", failure="disk full"),
    ]

    ranked = world(one.node for one in nodes)

    assert [node.spec.slot for node in ranked] == [1, 3, 4]
