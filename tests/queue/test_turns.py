"""Whose turn it is: shares between submitters, and no starvation, as properties."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from skyward.contracts import ORDINARY, TaskRow
from skyward.queue.live import LiveTask
from skyward.queue.turns import AGEING_S, PoolLine
from skyward_agent.wire.messages import Policy


def task(seq: int, submitter: str, items: int, *, priority: int = 0, policy: Policy = ORDINARY) -> LiveTask:
    row = TaskRow(
        uid=f"u{seq}",
        namespace="default",
        name=f"t{seq}",
        submitter=submitter,
        key=str(seq),
        fingerprint="",
        pool="default/hello",
        mode="map",
        function="",
        function_name="",
        max_attempts=3,
        timeout_s=None,
        priority=priority,
        env={},
        stream=True,
        ranks=(),
        items=items,
        open=False,
        created_at=0.0,
        policy=policy,
        seq=seq,
    )
    return LiveTask(row, items, open=False)


Given = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 30)), min_size=1, max_size=12)


@given(Given, st.lists(st.integers(1, 7), min_size=1, max_size=60))
def test_submitters_of_one_priority_share_to_within_one_item_while_they_wait(
    tasks: list[tuple[str, int]], batches: list[int]
) -> None:
    line, left = PoolLine(), Counter[str]()
    for seq, (submitter, items) in enumerate(tasks):
        line.enter(task(seq, submitter, items), now=0.0)
        left[submitter] += items
    served = Counter[str]()

    for count in batches:
        for given_task, _ in line.take(count, {}, now=0.0):
            served[given_task.row.submitter] += 1
            left[given_task.row.submitter] -= 1
            waiting = [submitter for submitter, items in left.items() if items > 0]
            assert all(served[one] >= max(served.values()) - 1 for one in waiting)


@given(Given)
def test_everything_that_waits_is_given_once_and_in_order_within_its_submitter(tasks: list[tuple[str, int]]) -> None:
    line = PoolLine()
    for seq, (submitter, items) in enumerate(tasks):
        line.enter(task(seq, submitter, items), now=0.0)

    taken = line.take(10_000, {}, now=0.0)

    for wanted in {submitter for submitter, _ in tasks}:
        got = [(one.row.seq, item) for one, item in taken if one.row.submitter == wanted]
        expected = [(seq, item) for seq, (of, items) in enumerate(tasks) if of == wanted for item in range(items)]
        assert got == expected
    assert line.is_empty


@given(st.integers(1, 20), st.integers(-20, 0), st.floats(0.1, 30.0))
def test_a_low_priority_is_served_once_in_its_stated_time_whatever_is_above_it(
    high: int, low: int, step_s: float
) -> None:
    line = PoolLine()
    line.enter(task(0, "a", 10_000, priority=high), now=0.0)
    line.enter(task(1, "b", 10_000, priority=low), now=0.0)
    bound_s = (high - low) * AGEING_S
    step_s = max(step_s, bound_s / 500)
    now = served_at = 0.0
    served = 0

    while now < 2 * (bound_s + 2 * step_s) and served < 2:
        now += step_s
        ((one, _),) = line.take(1, {}, now)
        if one.row.submitter == "b":
            # The upper one was served a step ago, and waits too: by that much the lower one may be later.
            assert now - served_at >= bound_s
            assert now - served_at <= bound_s + 2 * step_s
            served, served_at = served + 1, now

    assert served == 2


def test_age_alone_makes_nothing_urgent_that_is_served_all_the_time() -> None:
    line = PoolLine()
    line.enter(task(0, "a", 10_000, priority=0), now=0.0)
    for minute in range(600):
        line.take(1, {}, now=minute * 60.0)
    line.enter(task(1, "b", 1, priority=2), now=36_000.0)

    ((one, _),) = line.take(1, {}, now=36_000.0)

    assert one.row.submitter == "b", "a long map is no more urgent for having begun long ago"


def test_who_comes_back_after_a_while_has_saved_up_nothing() -> None:
    line = PoolLine()
    line.enter(task(0, "a", 1000), now=0.0)
    line.take(100, {}, now=0.0)
    line.enter(task(1, "b", 1000), now=0.0)

    served = Counter(one.row.submitter for one, _ in line.take(100, {}, now=0.0))

    assert served == {"a": 50, "b": 50}


def test_a_fairness_key_of_its_own_divides_a_submitters_work() -> None:
    line = PoolLine()
    line.enter(task(0, "a", 100, policy=Policy(fairness_key="big")), now=0.0)
    line.enter(task(1, "a", 100, policy=Policy(fairness_key="small")), now=0.0)
    line.enter(task(2, "b", 100), now=0.0)

    served = Counter(one.row.seq for one, _ in line.take(30, {}, now=0.0))

    assert served == {0: 10, 1: 10, 2: 10}


def test_lines_of_different_selectors_take_turns_by_how_long_they_waited() -> None:
    line = PoolLine()
    line.enter(task(0, "a", 100), now=0.0)
    line.enter(task(1, "a", 100, policy=Policy(selector={"zone": "x"})), now=0.0)
    served: Counter[int] = Counter()

    for second in range(1, 41):
        served.update(one.row.seq for one, _ in line.take(1, {"zone": "x"}, now=float(second)))

    assert served == {0: 20, 1: 20}
    assert {one.row.seq for one, _ in line.take(200, {"zone": "y"}, now=50.0)} == {0}
