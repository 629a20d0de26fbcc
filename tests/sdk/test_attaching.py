"""Tasks found again by their id, by a session that did not submit them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from skyward.errors import NotFound, OperatorUnreachable, PoolNotFound, TaskCancelled, UserError
from skyward.sdk.session import Session
from tests.sdk.test_calls import until
from tests.sdk.world import ThreadedWorld, rank, threaded_world

DEADLINE_S = 20.0
release = threading.Event()


@pytest.fixture(scope="module")
def world() -> Iterator[ThreadedWorld]:
    with threaded_world(nodes=2) as world:
        yield world


@pytest.fixture
def first(world: ThreadedWorld) -> Iterator[Session]:
    release.clear()
    with world.session() as session:
        yield session
    release.set()


@pytest.fixture
def second(world: ThreadedWorld) -> Iterator[Session]:
    with world.session() as session:
        yield session


def wait_for_release(n: int = 0) -> int:
    release.wait(DEADLINE_S)
    return n


def fail() -> None:
    raise ValueError("too bad")


def last_task(world: ThreadedWorld) -> str:
    return list(world.world.queue.tasks_by_uid)[-1]


def test_a_call_outlives_its_caller(world: ThreadedWorld, second: Session) -> None:
    release.clear()
    with world.session() as gone:
        uid = gone.pool("hello").submit(wait_for_release, 7).task_id(DEADLINE_S)

    again = second.task(uid)
    assert not again.done()
    release.set()

    assert again.result(DEADLINE_S) == 7


def test_a_result_that_is_there_already_comes_at_once(first: Session, second: Session) -> None:
    future = first.pool("hello").submit(rank)
    future.result(DEADLINE_S)

    assert second.task(future.task_id()).result(DEADLINE_S) == -1


def test_a_failure_comes_as_its_exception(first: Session, second: Session) -> None:
    future = first.pool("hello").submit(fail)

    with pytest.raises(ValueError, match="too bad"):
        second.task(future.task_id(DEADLINE_S)).result(DEADLINE_S)


def test_a_map_or_broadcast_is_the_list_of_its_results(world: ThreadedWorld, first: Session, second: Session) -> None:
    release.set()
    list(first.pool("hello").map(wait_for_release, range(300)))
    assert second.task(last_task(world)).result(DEADLINE_S) == list(range(300))

    first.pool("hello").broadcast(rank)
    assert second.task(last_task(world)).result(DEADLINE_S) == [0, 1]


def test_cancelling_it_cancels_the_task_for_everyone(first: Session, second: Session) -> None:
    future = first.pool("hello").submit(wait_for_release)

    assert second.task(future.task_id(DEADLINE_S)).cancel()

    with pytest.raises(TaskCancelled):
        future.result(DEADLINE_S)


def test_it_survives_a_restart_of_the_gateway(world: ThreadedWorld, first: Session, second: Session) -> None:
    again = second.task(first.pool("hello").submit(wait_for_release, 7).task_id(DEADLINE_S))

    world.restart_gateway(release.set)

    assert again.result(DEADLINE_S) == 7


def test_an_unknown_task_is_said_at_once(second: Session) -> None:
    # Its name is looked for over HTTP, which this world has not.
    with pytest.raises((NotFound, OperatorUnreachable)):
        second.task("no-such-task")


def test_a_task_that_the_session_follows_already_is_refused(first: Session) -> None:
    future = first.pool("hello").submit(wait_for_release)

    with pytest.raises(UserError, match=r"follows task .* already"):
        first.task(future.task_id(DEADLINE_S))


def test_a_call_that_was_refused_has_no_id_but_its_error(first: Session) -> None:
    with pytest.raises(PoolNotFound):
        first.pool("nowhere").submit(rank).task_id(DEADLINE_S)


def test_a_shutdown_asks_the_operator_what_runs(world: ThreadedWorld, first: Session) -> None:
    pool = first.pool("hello")
    running = [pool.submit(wait_for_release, n) for n in range(4)]
    until(lambda: len(world.world.queue.held_by) == 4)
    waiting = pool.submit(rank)

    for future in (*running, waiting):
        future.cancel_waiting()
    until(waiting.cancelled)
    release.set()

    assert [future.result(DEADLINE_S) for future in running] == [0, 1, 2, 3]
