from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, as_completed, wait
from typing import Any

import pytest

from skyward.errors import (
    ChildDied,
    FunctionNotLoadable,
    NotPicklable,
    OperatorUnreachable,
    PoolNotFound,
    PoolNotReady,
    PythonMismatch,
    RemoteError,
    ResultNotPicklable,
    TaskError,
    Unauthenticated,
    UserError,
)
from skyward.sdk.outcomes import RemoteTraceback
from skyward.sdk.session import Session
from tests.sdk.world import ThreadedWorld, emit, rank, threaded_world, variable

DEADLINE_S = 20.0
release = threading.Event()
"""What waiting functions wait for: they run in this process."""


@pytest.fixture(scope="module")
def world() -> Iterator[ThreadedWorld]:
    with threaded_world() as world:
        yield world


@pytest.fixture
def session(world: ThreadedWorld) -> Iterator[Session]:
    release.clear()
    with world.session() as session:
        yield session
    release.set()


def add(a: int, b: int = 0) -> int:
    return a + b


def wait_for_release() -> str:
    release.wait(DEADLINE_S)
    return "released"


def fail(text: str) -> None:
    raise ValueError(text)


class Awkward(Exception):
    """Cannot be rebuilt from its pickle."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def fail_awkwardly() -> None:
    raise Awkward(1, 2)


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not claim():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.002)


def test_run_returns_what_the_function_returns(session: Session) -> None:
    assert session.pool("hello").run(add, 1, b=2) == 3


def test_a_lambda_travels_by_value(session: Session) -> None:
    offset = 10

    assert session.pool("hello").run(lambda x: x + offset, 1) == 11


def test_an_exception_is_raised_as_itself_with_the_remote_traceback_as_its_cause(session: Session) -> None:
    with pytest.raises(ValueError, match="too bad") as caught:
        session.pool("hello").run(fail, "too bad")

    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_rebuilt_is_told_by_type_and_text(session: Session) -> None:
    with pytest.raises(RemoteError, match=r"Awkward: 1 and 2.*node node-0") as caught:
        session.pool("hello").run(fail_awkwardly)

    assert isinstance(caught.value.__cause__, RemoteTraceback)


def test_a_dead_child_is_a_typed_error_with_node_attempt_and_evidence(session: Session) -> None:
    with pytest.raises(ChildDied, match=r"on node node-0, attempt 1: it exited \(exit code: 3\)"):
        session.pool("hello").run(lambda: exit(3))


def test_a_result_that_cannot_be_sent_back_is_a_typed_error(session: Session) -> None:
    with pytest.raises(ResultNotPicklable, match="lock"):
        session.pool("hello").run(lambda: threading.Lock())


class Vanishing:
    """Its pickle names a module that is not there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (__import__, ("no_such_module",))


def test_a_result_whose_module_is_missing_here_names_the_module(session: Session) -> None:
    with pytest.raises(ResultNotPicklable, match="no_such_module"):
        session.pool("hello").run(Vanishing)


def test_arguments_that_the_node_cannot_load_are_a_typed_error(session: Session) -> None:
    with pytest.raises(FunctionNotLoadable, match="no_such_module"):
        session.pool("hello").run(add, Vanishing())


def test_an_argument_that_cannot_be_sent_is_named_before_anything_is_sent(session: Session) -> None:
    def scale(x: int, k: Any) -> None: ...

    with pytest.raises(NotPicklable, match=r"argument 'k' of .*scale cannot be sent: TypeError"):
        session.pool("hello").submit(scale, 1, threading.Lock())


def test_a_function_that_cannot_be_sent_is_refused_before_anything_is_sent(session: Session) -> None:
    lock = threading.Lock()

    with pytest.raises(NotPicklable, match=r"the function .*lambda.* cannot be sent"):
        session.pool("hello").submit(lambda: lock)


def test_an_unknown_pool_is_said_at_once(session: Session) -> None:
    with pytest.raises(PoolNotFound, match="there is no pool default/nowhere"):
        session.pool("nowhere").run(add, 1)


def test_another_python_is_said_at_once(world: ThreadedWorld, session: Session) -> None:
    world.world.queue.python = "3.99"
    try:
        with pytest.raises(PythonMismatch, match=r"3\.99"):
            session.pool("hello").run(add, 1)
    finally:
        world.world.queue.python = None


def test_a_session_needs_an_operator_at_once(world: ThreadedWorld) -> None:
    with pytest.raises(OperatorUnreachable, match=r"no operator answers at 127\.0\.0\.1:1 "):
        Session(world.world.config(port=1))


def test_a_wrong_token_is_refused_at_once(world: ThreadedWorld) -> None:
    with pytest.raises(Unauthenticated):
        Session(world.world.config(token="wrong"))


def test_options_reach_the_node_and_leave_the_handle_as_it_was(session: Session) -> None:
    pool = session.pool("hello")
    with_env = pool.options(env={"COLOUR": "red"}, timeout=5)

    assert with_env.run(variable, "COLOUR") == "red"
    with pytest.raises(KeyError):
        pool.run(variable, "COLOUR")


@pytest.mark.parametrize("bad", [{"timeout": 0}, {"max_attempts": 0}, {"env": {"A": 1}}])
def test_bad_options_are_refused(session: Session, bad: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        session.pool("hello").options(**bad)


# --- futures ---------------------------------------------------------------------------------------------------------


def test_futures_are_the_standard_ones(session: Session) -> None:
    futures = [session.pool("hello").submit(add, n) for n in range(20)]

    assert all(isinstance(future, Future) for future in futures)
    assert sorted(future.result() for future in as_completed(futures, DEADLINE_S)) == list(range(20))


def test_wait_for_the_first_exception_returns_while_others_run(session: Session) -> None:
    waiting = session.pool("hello").submit(wait_for_release)
    failing = session.pool("hello").submit(fail, "first")

    done, pending = wait([waiting, failing], DEADLINE_S, FIRST_EXCEPTION)

    assert (done, pending) == ({failing}, {waiting})
    release.set()
    assert waiting.result(DEADLINE_S) == "released"


def test_result_with_a_timeout_gives_up_waiting_but_not_the_call(session: Session) -> None:
    future = session.pool("hello").submit(wait_for_release)

    with pytest.raises(TimeoutError):
        future.result(0.01)
    release.set()

    assert future.result(DEADLINE_S) == "released"


def test_cancel_takes_effect_here_at_once_and_on_the_operator_soon(world: ThreadedWorld, session: Session) -> None:
    future = session.pool("hello").submit(wait_for_release)
    queue = world.world.queue
    until(lambda: queue.held_by)
    task = next(iter(queue.held_by))[0]

    assert future.cancel()

    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result()
    until(lambda: [result.outcome for result in queue.tasks_by_uid[task].results.values()] == ["Cancelled"])
    assert future.cancel(), "cancelling again changes nothing"


def test_cancel_before_the_call_is_known_still_stops_it(world: ThreadedWorld, session: Session) -> None:
    before = len(world.world.queue.tasks_by_uid)
    futures = [session.pool("hello").submit(wait_for_release) for _ in range(10)]

    assert all(future.cancel() for future in futures)

    assert session.pool("hello").run(add, 1) == 1
    queue = world.world.queue
    until(lambda: all(task.results for task in list(queue.tasks_by_uid.values())[before:]))


def test_a_finished_future_cannot_be_cancelled(session: Session) -> None:
    future = session.pool("hello").submit(add, 1)
    future.result(DEADLINE_S)

    assert not future.cancel()


def test_a_slow_callback_delays_no_other_call(session: Session) -> None:
    blocked = threading.Event()
    called = threading.Event()

    def block(future: Future[int]) -> None:
        called.set()
        blocked.wait(DEADLINE_S)

    pool = session.pool("hello")
    gate = pool.submit(wait_for_release)
    gate.add_done_callback(block)
    release.set()
    assert called.wait(DEADLINE_S)

    assert pool.run(add, 1) == 1

    blocked.set()


def test_closing_the_session_ends_futures_that_are_not_done(world: ThreadedWorld) -> None:
    release.clear()
    session = world.session()
    future = session.pool("hello").submit(wait_for_release)
    until(lambda: world.world.queue.held_by)

    session.close()

    with pytest.raises(TaskError, match="session was closed"):
        future.result(DEADLINE_S)
    with pytest.raises(TaskError, match="session is closed"):
        session.pool("hello").submit(add, 1)
    release.set()


# --- broadcast, output -----------------------------------------------------------------------------------------------


def test_broadcast_gives_one_result_per_node_by_rank() -> None:
    with threaded_world(nodes=3) as world, world.session() as session:
        assert session.pool("hello").broadcast(rank) == [0, 1, 2]


def test_the_first_failing_rank_is_raised_and_cancels_the_others() -> None:
    release.clear()

    def rank_one_fails() -> None:
        if rank() == 1:
            raise ValueError("rank one")
        wait_for_release()

    with threaded_world(nodes=3) as world, world.session() as session:
        with pytest.raises(ValueError, match="rank one"):
            session.pool("hello").broadcast(rank_one_fails)

        (task,) = world.world.queue.tasks_by_uid.values()
        until(lambda: sorted(r.outcome for r in task.results.values()) == ["Cancelled", "Cancelled", "Failed"])
        release.set()


def test_a_broadcast_with_no_ready_node_is_refused_at_once() -> None:
    with threaded_world(nodes=0) as world, world.session() as session, pytest.raises(PoolNotReady):
        session.pool("hello").broadcast(rank)


def test_what_a_function_prints_is_shown_before_its_result(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk() -> None:
        emit("one\ntw")
        emit("o\nthree")
        emit("oops\n", "stderr")

    session.pool("hello").run(talk)
    session.engine.console.flush()

    captured = capsys.readouterr()
    assert captured.out == "one\ntwo\nthree\n"
    assert captured.err == "oops\n"


def test_stream_false_shows_nothing(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.pool("hello").options(stream=False).run(emit, "quiet\n")
    session.engine.console.flush()

    assert capsys.readouterr().out == ""


def test_lines_say_their_node_once_more_than_one_node_writes(capsys: pytest.CaptureFixture[str]) -> None:
    with threaded_world(nodes=2) as world, world.session() as session:
        pool = session.pool("hello")
        pool.broadcast(emit, "warm\n")
        session.engine.console.flush()
        capsys.readouterr()

        pool.broadcast(emit, "hi\n")
        session.engine.console.flush()

    lines = capsys.readouterr().out.splitlines()
    assert sorted(line for line in lines if line.endswith("hi")) == ["[node-0] hi", "[node-1] hi"]


# --- the operator goes away ------------------------------------------------------------------------------------------


def test_calls_survive_a_restart_of_the_gateway_without_loss_or_repeat() -> None:
    release.clear()
    with threaded_world(nodes=2, lanes=4) as world, world.session() as session:
        pool = session.pool("hello")
        running = [pool.submit(wait_for_release) for _ in range(4)]
        until(lambda: len(world.world.queue.held_by) == 4)
        meanwhile: list[Future[int]] = []

        def while_away() -> None:
            release.set()  # these end while nobody can be told
            meanwhile.extend(pool.submit(add, n) for n in range(50))

        world.restart_gateway(while_away)

        assert [future.result(DEADLINE_S) for future in running] == ["released"] * 4
        assert [future.result(DEADLINE_S) for future in meanwhile] == list(range(50))
        executed = [attempt for agent in world.agents for attempt in agent.executed]
        assert len(executed) == len(set(executed)) == 54


def test_an_operator_that_stays_away_is_said_and_found_again_when_asked_later() -> None:
    release.clear()
    with threaded_world() as world, world.session(reconnect_s=0.2) as session:
        pool = session.pool("hello")
        future = pool.submit(wait_for_release)
        until(lambda: world.world.queue.held_by)

        def while_away() -> None:
            with pytest.raises(OperatorUnreachable):
                future.result(DEADLINE_S)
            with pytest.raises(OperatorUnreachable):
                pool.run(add, 1)

        world.restart_gateway(while_away)

        assert pool.run(add, 1) == 1
        release.set()


def test_importing_skyward_offers_everything_lazily() -> None:
    import skyward as sky

    assert {name for name in sky.__all__ if getattr(sky, name) is not None} == set(sky.__all__)
    assert os.environ.get("SKYWARD_NODE_INFO") is None
    with pytest.raises(RuntimeError):
        sky.node_info()
