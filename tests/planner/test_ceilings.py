"""Ceilings and slow start: how many instances a pool may ask for, counted from what exists and what was answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, Reason, Status
from skyward.facts import Ceilings, InstanceState, Launch, LaunchState, Limits, ObservedMarket, Use
from skyward.planner import NodeRules, StartLaunch, Wait, launch_allowance, plan_node, room, use_of, use_of_stray
from skyward.planner.ceilings import CREATE_WINDOW_S, REFUSAL_MEMORY_S
from skyward.planner.failures import LONGEST_DELAY_S, Failures, judge
from skyward.planner.places import classify
from tests.builders import (
    NOW,
    failed_node,
    make_instance,
    make_launch,
    make_node,
    make_offering,
    make_pool,
    observe_pool,
    pending_node,
    ready_node,
)

POOL = make_pool(nodes=20)
NODES = [make_node(POOL, slot) for slot in range(4)]


def launch(state: LaunchState = LaunchState.BOUND, count: int = 4, ago_s: float = 60, made: int = 0) -> Launch:
    return make_launch(
        NODES[:count],
        f"launch-{ago_s:g}",
        state,
        created_at=NOW - ago_s,
        instances=[f"i-{number}" for number in range(made)],
        offering=make_offering(usd_per_hour=2.0),
    )


def shown(count: int, state: InstanceState = InstanceState.UP, usd: float = 0.0) -> list[Any]:
    return [make_instance(f"i-{number}", state=state, usd_per_hour=usd) for number in range(count)]


# --- what is counted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "instances", "may_hide", "expected"),
    [
        pytest.param(launch(made=4), shown(4), False, Use(4, 4, 8.0), id="all are shown"),
        pytest.param(launch(made=4), shown(4, usd=3.0), False, Use(4, 4, 12.0), id="at the price of each"),
        pytest.param(launch(made=4), shown(1), True, Use(4, 4, 8.0), id="some may not show yet"),
        pytest.param(launch(made=4), shown(1), False, Use(1, 4, 2.0), id="what must show and does not is gone"),
        pytest.param(launch(made=4), shown(4, InstanceState.GONE), False, Use(0, 4, 0.0), id="gone"),
        pytest.param(launch(made=4), shown(4, InstanceState.HALTED), False, Use(4, 4, 8.0), id="halted ones may cost"),
        pytest.param(launch(LaunchState.SENT), [], False, Use(4, 4, 8.0), id="not answered: all may exist"),
        pytest.param(launch(LaunchState.UNKNOWN), shown(2), False, Use(4, 4, 8.0), id="unknown: all may exist"),
        pytest.param(launch(LaunchState.REJECTED), [], True, Use(0, 0, 0.0), id="proved to have made nothing"),
        pytest.param(launch(LaunchState.REJECTED), shown(1), True, Use(1, 0, 2.0), id="and shown all the same"),
        pytest.param(launch(made=4, ago_s=CREATE_WINDOW_S), shown(4), False, Use(4, 0, 8.0), id="asked for long ago"),
    ],
)
def test_a_launch_counts_with_everything_that_it_may_have(
    one: Launch, instances: list[Any], may_hide: bool, expected: Use
) -> None:
    assert use_of(one, instances, may_hide=may_hide, now=NOW) == expected


def test_instances_of_no_launch_on_record_count() -> None:
    assert use_of_stray([*shown(2, usd=1.5), *shown(1, InstanceState.GONE)]) == Use(2, 0, 3.0)


# --- what it leaves ----------------------------------------------------------------------------------------------

CEILINGS = Ceilings(
    pool_instances=10, instances=20, pool_creates=10, creates=20, pool_usd_per_hour=10.0, usd_per_hour=20.0
)


@pytest.mark.parametrize(
    ("own", "everywhere", "price", "left", "setting"),
    [
        pytest.param(Use(), Use(), 0.0, 10, None, id="empty"),
        pytest.param(Use(instances=8), Use(instances=8), 0.0, 2, None, id="near"),
        pytest.param(Use(instances=10), Use(instances=10), 0.0, 0, "pool_instances", id="the pool's"),
        pytest.param(Use(instances=1), Use(instances=20), 0.0, 0, "instances", id="the operator's"),
        pytest.param(Use(instances=30), Use(instances=30), 0.0, 0, "pool_instances", id="above"),
        pytest.param(Use(creates=10), Use(creates=10), 0.0, 0, "pool_creates", id="creates"),
        pytest.param(Use(), Use(creates=19), 0.0, 1, None, id="one more create"),
        pytest.param(Use(usd_per_hour=4.0), Use(usd_per_hour=4.0), 3.0, 2, None, id="money for two"),
        pytest.param(Use(usd_per_hour=8.0), Use(usd_per_hour=8.0), 3.0, 0, "pool_usd_per_hour", id="too dear"),
        pytest.param(Use(), Use(usd_per_hour=18.0), 3.0, 0, "usd_per_hour", id="too dear in all"),
        pytest.param(Use(usd_per_hour=99.0), Use(usd_per_hour=99.0), 0.0, 10, None, id="what costs nothing may come"),
        pytest.param(Use(usd_per_hour=0.7), Use(), 0.1, 10, None, id="rounding takes nothing away"),
    ],
)
def test_the_least_room_of_all_ceilings_is_left(
    own: Use, everywhere: Use, price: float, left: int, setting: str | None
) -> None:
    count, hindrance = room(Limits(CEILINGS, own, everywhere), price)

    assert count == left
    assert (hindrance is None) is (setting is None)
    if hindrance is not None:
        assert hindrance.inputs[0] == ("setting", setting)


@pytest.mark.parametrize(("allowance", "left"), [(None, 10), (3, 3), (0, 0)])
def test_slow_start_bounds_it_as_well(allowance: int | None, left: int) -> None:
    count, hindrance = room(Limits(CEILINGS, allowance=allowance), 0.0)

    assert count == left
    assert (hindrance.rule if hindrance else None) == ("slow-start" if left == 0 else None)


@pytest.mark.parametrize(
    ("launches", "expected"),
    [
        pytest.param([], None, id="nothing was refused"),
        pytest.param([launch(made=4)], None, id="all were made"),
        pytest.param([launch(LaunchState.REJECTED)], 1, id="refused: one"),
        pytest.param([launch(LaunchState.ABSENT)], 1, id="made nothing: one"),
        pytest.param([launch(made=3)], 1, id="made less than was asked: one"),
        pytest.param([launch(LaunchState.REJECTED), launch(LaunchState.SENT, 1, ago_s=5)], 0, id="one is asked for"),
        pytest.param([launch(LaunchState.REJECTED), launch(count=1, made=1, ago_s=5)], 2, id="one was made: two"),
        pytest.param(
            [launch(LaunchState.REJECTED), launch(count=1, made=1, ago_s=9), launch(count=2, made=2, ago_s=5)],
            4,
            id="three were made: four",
        ),
        pytest.param(
            [launch(count=4, made=4, ago_s=90), launch(LaunchState.REJECTED)], 1, id="what was made before says nothing"
        ),
        pytest.param([launch(LaunchState.REJECTED, ago_s=REFUSAL_MEMORY_S)], None, id="long ago"),
    ],
)
def test_after_a_refusal_no_more_are_asked_for_than_were_made_since_and_one(
    launches: list[Launch], expected: int | None
) -> None:
    assert launch_allowance(launches, NOW) == expected
    assert launch_allowance(reversed(launches), NOW) == expected


def test_a_node_without_room_waits_and_says_why() -> None:
    rules = NodeRules(started_at=NOW - 1000, has_token=True, visibility_s=0, absence_s=0, same_host=True)
    full = ObservedMarket((make_offering(),), limits=Limits(CEILINGS, own=Use(instances=10)))

    held = plan_node(pending_node(POOL), POOL, full, rules, NOW)

    launched = next(update for update in held.conditions if update.type == NodeCondition.LAUNCHED)
    assert held.step == Wait()
    assert (launched.status, launched.reason) == (Status.FALSE, Reason.CEILING_REACHED)
    assert [decision.rule for decision in held.decisions] == ["ceiling"]
    free = plan_node(pending_node(POOL), POOL, replace(full, limits=Limits(CEILINGS)), rules, NOW)
    assert isinstance(free.step, StartLaunch)


# --- failed boots ------------------------------------------------------------------------------------------------


def failures(failed_ago_s: list[float], ready_ago_s: list[float], nodes: int = 20) -> Failures:
    pool = make_pool(nodes=nodes)
    members = [failed_node(pool, slot, at=NOW - ago, suffix=f"f{slot:04d}") for slot, ago in enumerate(failed_ago_s)]
    members += [ready_node(pool, slot, since=NOW - ago) for slot, ago in enumerate(ready_ago_s)]
    return judge(pool, classify(observe_pool(pool, members)), NOW)


@pytest.mark.parametrize(
    ("ready", "pending", "allowed"),
    [(1, 0, 2), (1, 2, 0), (2, 1, 2), (3, 0, 4), (3, 4, 0), (7, 0, 8)],
)
def test_as_nodes_become_ready_after_a_failure_more_come_up_at_once(ready: int, pending: int, allowed: int) -> None:
    assert failures([100], [50] * ready).allowance(pending, NOW) == allowed


@pytest.mark.parametrize(
    ("nodes", "ready"), [pytest.param(20, 19, id="it keeps nothing back"), pytest.param(2, 2, id="all are ready")]
)
def test_slow_start_ends(nodes: int, ready: int) -> None:
    assert failures([100], [50] * ready, nodes).allowance(0, NOW) is None


def test_the_delay_after_failures_reaches_its_most() -> None:
    judged = failures([100, 80, 60, 40, 20, 1, 1], [200])

    assert judged.hold_until == NOW - 1 + LONGEST_DELAY_S
