"""Conditions over time: their times never go back, whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skyward.api import Condition, PoolCondition, Reason, Status, set_condition, to_time

STEPS = st.lists(st.tuples(st.sampled_from(Status), st.integers(min_value=0, max_value=4_000_000_000)), max_size=20)


@given(STEPS)
def test_a_transition_time_never_goes_back_and_moves_only_with_the_status(steps: list[tuple[Status, int]]) -> None:
    conditions: tuple[Condition, ...] = ()
    for status, at in steps:
        before = conditions
        conditions = set_condition(conditions, PoolCondition.READY, status, Reason.PENDING, now=to_time(at))
        if before:
            (old,), (new,) = before, conditions
            assert new.last_transition_time >= old.last_transition_time
            assert new.status is not old.status or new.last_transition_time == old.last_transition_time
