"""The laws of `plan_pool`, over many random worlds. `SKYWARD_PROPERTY_WORLDS` sets how many."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyward.api import Pool, PoolCondition, Reason, Status
from skyward.facts import ObservedPool
from skyward.planner import CreateNode, ForgetNode, Place, PoolPlan, RetireNode, classify, plan_pool
from skyward.planner.failures import judge
from skyward.planner.rollout import bounds, count_new
from tests.properties.worlds import applied, random_world

WORLDS = int(os.environ.get("SKYWARD_PROPERTY_WORLDS", "20000"))
BATCH = 2000
VOLUNTARY = {Reason.TOO_MANY_NODES, Reason.TEMPLATE_CHANGED, Reason.REPLACE_REQUESTED}
ALWAYS = set(PoolCondition) - {PoolCondition.ACCEPTED}
ONLY_WHILE_TRUE = {PoolCondition.DELETING, PoolCondition.PAUSED, PoolCondition.STALLED}


def _check_all(seed: int) -> PoolPlan:
    observed, now = random_world(seed)
    plan = plan_pool(observed, now)
    after = applied(observed, plan, now)
    _same_plan_in_any_order(observed, plan, now, seed)
    _nothing_more_at_the_same_instant(after, now)
    _restraint(observed, plan)
    _only_our_nodes_and_none_twice(observed, plan)
    _conditions_are_whole(plan)
    if observed.pool.metadata.deletion_timestamp is None and observed.synced and not observed.pool.spec.paused:
        _within_bounds(observed, after, plan)
        _slow_start(observed, plan, now)
        _lowest_free_slots(observed, plan)
    return plan


def _same_plan_in_any_order(observed: ObservedPool, plan: PoolPlan, now: float, seed: int) -> None:
    nodes = list(observed.nodes)
    Random(seed + 1).shuffle(nodes)
    assert plan_pool(replace(observed, nodes=tuple(nodes)), now) == plan


def _nothing_more_at_the_same_instant(after: ObservedPool, now: float) -> None:
    assert plan_pool(after, now).actions == ()


def _restraint(observed: ObservedPool, plan: PoolPlan) -> None:
    """Nothing is concluded from an incomplete picture, and a paused pool is left alone."""
    deleting = observed.pool.metadata.deletion_timestamp is not None
    if deleting:
        allowed = (RetireNode, ForgetNode) if observed.synced else (RetireNode,)
        assert all(isinstance(action, allowed) for action in plan.actions)
        assert all(action.reason is Reason.POOL_DELETED for action in plan.actions)
    elif not observed.synced or observed.pool.spec.paused:
        assert plan.actions == ()


def _only_our_nodes_and_none_twice(observed: ObservedPool, plan: PoolPlan) -> None:
    places = {member.key: member.place for member in classify(observed)}
    touched = [action.node for action in plan.actions if not isinstance(action, CreateNode)]
    assert len(touched) == len(set(touched))
    for action in plan.actions:
        assert action.message
        if isinstance(action, RetireNode):
            assert places[action.node] not in (Place.LEAVING, Place.GONE)
        elif isinstance(action, ForgetNode):
            assert places[action.node] is Place.GONE


def _within_bounds(observed: ObservedPool, after: ObservedPool, plan: PoolPlan) -> None:
    limits = bounds(observed.pool.spec)
    standing = [member for member in classify(after) if member.place.stands]
    slots = [member.slot for member in standing]
    assert len(standing) <= limits.ceiling
    assert len(set(slots)) == len(slots)
    if not any(member.outdated for member in standing):
        assert len(standing) <= limits.nodes
    at_work = {member.key for member in classify(observed) if member.place is Place.READY}
    if any(isinstance(one, RetireNode) and one.node in at_work and one.reason in VOLUNTARY for one in plan.actions):
        assert sum(member.place is Place.READY for member in standing) >= limits.floor


def _slow_start(observed: ObservedPool, plan: PoolPlan, now: float) -> None:
    members = classify(observed)
    failures = judge(observed.pool, members, now)
    created = sum(isinstance(action, CreateNode) for action in plan.actions)
    stalled = next(update for update in plan.conditions if update.type == PoolCondition.STALLED)
    if failures.stopped:
        assert created == 0
        assert (stalled.status, stalled.reason) == (Status.TRUE, Reason.TEMPLATE_FAILING)
    elif failures.consecutive:
        retired = {action.node for action in plan.actions if isinstance(action, RetireNode)}
        coming = count_new(member for member in members if member.place.stands and member.key not in retired)
        assert created == 0 or created + coming == 1


def _lowest_free_slots(observed: ObservedPool, plan: PoolPlan) -> None:
    retired = {action.node for action in plan.actions if isinstance(action, RetireNode)}
    taken = {member.slot for member in classify(observed) if member.place.stands and member.key not in retired}
    slots = [action.slot for action in plan.actions if isinstance(action, CreateNode)]
    free = [slot for slot in range(1000) if slot not in taken]
    assert slots == free[: len(slots)]


def _conditions_are_whole(plan: PoolPlan) -> None:
    types = [update.type for update in plan.conditions]
    assert set(types) == ALWAYS
    assert len(types) == len(set(types))
    for update in plan.conditions:
        assert update.status is not None or update.type in ONLY_WHILE_TRUE
        assert update.type not in ONLY_WHILE_TRUE or update.status in (None, Status.TRUE)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, WORLDS, BATCH))
def test_every_law_holds_in_every_world(first: int) -> None:
    kinds: Counter[str] = Counter()

    for seed in range(first, min(first + BATCH, WORLDS)):
        try:
            plan = _check_all(seed)
        except AssertionError as error:
            raise AssertionError(f"world {seed}: {error}") from error
        kinds.update(type(action).__name__ for action in plan.actions)

    assert {"CreateNode", "RetireNode", "ForgetNode"} <= set(kinds), "the worlds are too tame to prove anything"


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_every_law_holds_in_a_world_that_can_be_shrunk(seed: int) -> None:
    _check_all(seed)


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=0, max_value=2**32), st.floats(min_value=0, max_value=400))
def test_a_stopped_template_starts_again_only_by_a_human(seed: int, later_s: float) -> None:
    observed, now = random_world(seed)
    calm: Pool = observed.pool.replace(metadata=observed.pool.metadata.replace(annotations={}))
    observed = replace(observed, pool=calm)
    if not judge(calm, classify(observed), now).stopped:
        return

    plan = plan_pool(observed, now + later_s)

    assert not any(isinstance(action, CreateNode) for action in plan.actions)
