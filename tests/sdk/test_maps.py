from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from skyward.errors import NotPicklable, TaskError, UserError
from skyward.sdk.maps import WINDOW
from skyward.sdk.session import Session
from tests.sdk.test_calls import DEADLINE_S, add, release, until, wait_for_release
from tests.sdk.world import ThreadedWorld, threaded_world


@pytest.fixture(scope="module")
def world() -> Iterator[ThreadedWorld]:
    with threaded_world(nodes=2, lanes=8) as world:
        yield world


@pytest.fixture
def session(world: ThreadedWorld) -> Iterator[Session]:
    release.clear()
    with world.session() as session:
        yield session
    release.set()


def later_for_even(n: int) -> int:
    if n % 2 == 0:
        time.sleep(0.001)
    return n


def odd_fails(n: int) -> int:
    if n % 2:
        raise ValueError(n)
    return n


def newest_task(world: ThreadedWorld) -> Any:
    return list(world.world.queue.tasks_by_uid.values())[-1]


def test_results_come_in_the_order_of_the_items(session: Session) -> None:
    assert list(session.pool("hello").map(later_for_even, range(600))) == list(range(600))


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 288, 300])
def test_every_length_works(session: Session, count: int) -> None:
    assert list(session.pool("hello").map(add, range(count))) == list(range(count))


def test_several_iterables_go_in_parallel_to_the_shortest(session: Session) -> None:
    assert list(session.pool("hello").map(add, [1, 2, 3], itertools.count(10))) == [11, 13, 15]


def test_map_needs_an_iterable(session: Session) -> None:
    with pytest.raises(UserError):
        session.pool("hello").map(add)


def test_an_endless_iterator_is_read_only_a_window_ahead_and_cancelled_on_close(
    world: ThreadedWorld, session: Session
) -> None:
    pulled = itertools.count()
    results = session.pool("hello").map(add, (next(pulled) for _ in itertools.repeat(None)))

    first = list(itertools.islice(results, 10))
    results.close()

    assert first == list(range(10))
    assert next(pulled) <= WINDOW + 10
    task = newest_task(world)
    until(lambda: not task.open and len(task.results) == len(task.items))
    assert list(results) == []


def test_the_window_is_a_bound_while_the_first_result_is_missing(world: ThreadedWorld, session: Session) -> None:
    pulled = itertools.count()

    def first_waits(n: int) -> int:
        if n == 0:
            wait_for_release()
        return n

    before = len(world.world.queue.tasks_by_uid)
    results = session.pool("hello").map(first_waits, (next(pulled) for _ in itertools.repeat(None)))
    consumer = threading.Thread(target=lambda: next(results))
    consumer.start()
    until(lambda: len(world.world.queue.tasks_by_uid) > before)
    task = newest_task(world)
    until(lambda: len(task.results) == WINDOW - 1)

    assert len(task.items) == WINDOW

    release.set()
    consumer.join(DEADLINE_S)
    results.close()


def test_dropping_the_iterator_cancels_the_rest(world: ThreadedWorld, session: Session) -> None:
    results = session.pool("hello").map(add, itertools.count())
    assert next(results) == 0
    task = newest_task(world)

    del results

    until(lambda: not task.open and len(task.results) == len(task.items))


def test_a_slow_iterator_does_not_hold_back_results(session: Session) -> None:
    given: list[int] = []

    def slow() -> Iterator[int]:
        for n in range(4):
            given.append(n)
            yield n
            if n:
                time.sleep(0.02)

    seen = []
    for result in session.pool("hello").map(add, slow()):
        seen.append((result, len(given)))

    assert [result for result, _ in seen] == [0, 1, 2, 3]


def test_the_first_failure_is_raised_and_cancels_the_rest(world: ThreadedWorld, session: Session) -> None:
    results = session.pool("hello").map(odd_fails, itertools.count())

    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        next(results)

    task = newest_task(world)
    until(lambda: not task.open and len(task.results) == len(task.items))
    with pytest.raises(StopIteration):
        next(results)


def test_return_exceptions_puts_failures_in_their_places(session: Session) -> None:
    results = list(session.pool("hello").map(odd_fails, range(6), return_exceptions=True))

    assert [type(result).__name__ for result in results] == ["int", "ValueError"] * 3


def test_an_item_that_cannot_be_sent_is_named_and_cancels_the_map(world: ThreadedWorld, session: Session) -> None:
    def items() -> Iterator[Any]:
        yield from range(100)
        yield threading.Lock()

    with pytest.raises(NotPicklable, match="argument 'a' of add"):
        list(session.pool("hello").map(add, items()))

    task = newest_task(world)
    until(lambda: not task.open)


def test_an_error_of_the_iterator_itself_comes_through(session: Session) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("the file ended")

    with pytest.raises(LookupError, match="the file ended"):
        list(session.pool("hello").map(add, items()))


def test_a_timeout_ends_the_map(world: ThreadedWorld, session: Session) -> None:
    with pytest.raises(TimeoutError):
        list(session.pool("hello").map(lambda n: wait_for_release(), range(3), timeout=0.05))

    task = newest_task(world)
    until(lambda: len(task.results) == len(task.items))


def test_an_unknown_pool_is_said_at_the_first_result(session: Session) -> None:
    with pytest.raises(TaskError, match="no pool default/nowhere"):
        list(session.pool("nowhere").map(add, range(3)))


@pytest.mark.slow
def test_a_map_survives_restarts_of_the_gateway_without_loss_or_repeat() -> None:
    with threaded_world(nodes=2, lanes=4) as world, world.session() as session:
        results = session.pool("hello").map(later_for_even, range(3000))
        taken = list(itertools.islice(results, 500))

        world.restart_gateway()
        taken += itertools.islice(results, 1000)
        world.restart_gateway()
        taken += results

        assert taken == list(range(3000))


def test_closing_the_session_cancels_an_open_map(world: ThreadedWorld) -> None:
    session = world.session()
    results = session.pool("hello").map(add, itertools.count())
    assert next(results) == 0
    task = newest_task(world)

    session.close()

    until(lambda: not task.open)
    with pytest.raises(TaskError, match="session"):
        list(results)
