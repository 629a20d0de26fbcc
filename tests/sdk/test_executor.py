"""One set of rules for three executors: the standard library's two say what is expected of ours."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from pathlib import Path
from typing import Any

import pytest

from skyward.errors import NotPicklable
from skyward.sdk.outcomes import RemoteTraceback
from tests.sdk.world import threaded_world

pytestmark = pytest.mark.slow

DEADLINE_S = 30.0
LANES = 2
Make = Callable[..., Executor]

prepared = ""


def prepare(value: str, log: str | None = None) -> None:
    global prepared
    prepared = value
    if log is not None:
        with Path(log).open("a") as file:
            file.write("x")


def fail_to_prepare() -> None:
    raise LookupError("no scratch disk")


def what_was_prepared(_: object = None) -> str:
    return prepared


def add(a: int, b: int = 0) -> int:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


def fail_on_three(n: int) -> int:
    if n == 3:
        raise ValueError("three")
    return n


def wait_for(gate: str, value: int = 0) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while not Path(gate).exists():
        if time.monotonic() > deadline:
            raise AssertionError("the gate was never opened")
        time.sleep(0.005)
    return value


def mark(path: str) -> None:
    Path(path).touch()


@pytest.fixture(scope="module")
def pool_maker() -> Iterator[Make]:
    with threaded_world(nodes=1, lanes=LANES) as world, world.session() as session:
        yield session.pool("hello").executor


@pytest.fixture(params=["threads", "processes", "pool"])
def make(request: pytest.FixtureRequest, pool_maker: Make) -> Iterator[Make]:
    """How to make an executor with two workers."""
    made: list[Executor] = []
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([__name__])

    def make(**options: Any) -> Executor:
        match request.param:
            case "threads":
                made.append(ThreadPoolExecutor(LANES, **options))
            case "processes":
                made.append(ProcessPoolExecutor(LANES, mp_context=forking, **options))
            case _:
                made.append(pool_maker(**options))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(cancel_futures=True)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """What waiting calls wait for. Opened at the end whatever happens."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def test_a_call_gives_its_result(make: Make) -> None:
    assert make().submit(add, 1, b=2).result(DEADLINE_S) == 3


def test_an_exception_comes_from_the_future_again_and_again(make: Make) -> None:
    future = make().submit(fail, "too bad")

    assert isinstance(future.exception(DEADLINE_S), ValueError)
    for _ in range(2):
        with pytest.raises(ValueError, match="too bad"):
            future.result(DEADLINE_S)
    assert future.done()
    assert not future.cancel()


def test_results_of_a_map_are_in_order_and_end_with_the_shortest_input(make: Make) -> None:
    assert list(make().map(add, range(50), range(40))) == [2 * n for n in range(40)]


def test_a_map_of_nothing_is_empty(make: Make) -> None:
    assert list(make().map(add)) == list(make().map(add, [])) == []


def test_a_failing_item_is_raised_in_its_turn_and_ends_the_map(make: Make) -> None:
    results = make().map(fail_on_three, range(6))

    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert list(results) == []


def test_a_map_that_takes_too_long_raises_timeout_error(make: Make, gate: Path) -> None:
    results = make().map(wait_for, [str(gate)], timeout=0.05)

    with pytest.raises(TimeoutError):
        next(results)


def test_a_map_whose_results_nobody_takes_runs_all_the_same(make: Make, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"item-{n}") for n in range(20)]

    with make() as executor:
        executor.map(mark, paths)

    assert all(Path(path).exists() for path in paths)


def test_results_of_a_map_can_be_taken_after_the_shutdown(make: Make) -> None:
    with make() as executor:
        results = executor.map(add, range(3000))

    assert list(results) == list(range(3000))


def test_leaving_the_block_waits_for_every_call(make: Make) -> None:
    with make() as executor:
        futures = [executor.submit(add, n) for n in range(20)]

    assert all(future.done() for future in futures)


def test_nothing_is_taken_after_the_shutdown(make: Make) -> None:
    executor = make()
    executor.shutdown()
    executor.shutdown()

    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(add, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(add, [1])


def test_a_shutdown_without_waiting_leaves_calls_to_their_end(make: Make, gate: Path) -> None:
    executor = make()
    future = executor.submit(wait_for, str(gate), 7)

    executor.shutdown(wait=False)
    assert not future.done()
    gate.touch()

    assert future.result(DEADLINE_S) == 7


def test_a_shutdown_can_cancel_what_waits_but_not_what_runs(make: Make, gate: Path, tmp_path: Path) -> None:
    executor = make()
    began = [tmp_path / f"began-{n}" for n in range(LANES)]
    running = [executor.submit(mark_and_wait, str(path), str(gate)) for path in began]
    for path in began:
        wait_for(str(path))
    waiting = [executor.submit(add, n) for n in range(50)]

    executor.shutdown(wait=False, cancel_futures=True)
    gate.touch()
    wait(waiting, DEADLINE_S)

    assert [future.result(DEADLINE_S) for future in running] == [0] * LANES
    assert all(future.done() for future in waiting)
    # The process pool has taken one more call than it has workers out of its queue by then.
    assert sum(future.cancelled() for future in waiting) >= len(waiting) - LANES - 1


def test_a_map_that_a_shutdown_cancels_says_so_where_its_results_end(make: Make, gate: Path) -> None:
    executor = make()
    for _ in range(LANES + 2):
        executor.submit(wait_for, str(gate))
    results = executor.map(add, range(20))
    threading.Timer(0.2, gate.touch).start()

    executor.shutdown(wait=False, cancel_futures=True)

    with pytest.raises(CancelledError):
        list(results)


def mark_and_wait(path: str, gate: str) -> int:
    mark(path)
    return wait_for(gate)


def test_a_call_that_waits_can_be_cancelled_and_never_runs(make: Make, gate: Path, tmp_path: Path) -> None:
    executor = make()
    for _ in range(LANES + 2):
        executor.submit(wait_for, str(gate))
    never = tmp_path / "never"
    future = executor.submit(mark, str(never))

    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    with pytest.raises(CancelledError):
        future.result(0)
    with pytest.raises(CancelledError):
        future.exception(0)
    gate.touch()
    executor.shutdown()
    assert not never.exists()


def test_waiting_for_a_result_can_time_out(make: Make, gate: Path) -> None:
    future = make().submit(wait_for, str(gate), 1)

    with pytest.raises(TimeoutError):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.exception(0.01)
    gate.touch()

    assert future.result(DEADLINE_S) == 1


def test_callbacks_are_called_once_with_the_future_also_when_they_come_late(make: Make, gate: Path) -> None:
    called: list[Future[int]] = []
    both = threading.Event()

    def call_back(future: Future[int]) -> None:
        called.append(future)
        if len(called) == 2:
            both.set()

    future = make().submit(wait_for, str(gate))
    future.add_done_callback(call_back)
    future.add_done_callback(call_back)
    gate.touch()
    assert both.wait(DEADLINE_S)
    future.add_done_callback(call_back)

    assert called == [future] * 3


def test_a_callback_that_fails_keeps_no_other_from_being_called(make: Make) -> None:
    called = threading.Event()
    future = make().submit(add, 1)

    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(lambda _: called.set())

    assert called.wait(DEADLINE_S)


def test_cancelling_calls_the_callbacks(make: Make, gate: Path) -> None:
    executor = make()
    for _ in range(LANES + 2):
        executor.submit(wait_for, str(gate))
    called = threading.Event()
    future = executor.submit(add, 1)
    future.add_done_callback(lambda done: called.set() if done.cancelled() else None)

    future.cancel()

    assert called.wait(DEADLINE_S)


def test_as_completed_gives_futures_as_they_end(make: Make, gate: Path) -> None:
    executor = make()
    late, early = executor.submit(wait_for, str(gate)), executor.submit(add, 1)
    found = as_completed([late, early], DEADLINE_S)

    assert next(found) is early
    gate.touch()
    assert next(found) is late


def test_wait_returns_at_the_first_end_and_at_the_first_exception(make: Make, gate: Path) -> None:
    executor = make()
    late, early = executor.submit(wait_for, str(gate)), executor.submit(add, 1)
    assert wait([late, early], DEADLINE_S, FIRST_COMPLETED) == ({early}, {late})

    failing = executor.submit(fail, "first")
    assert wait([late, failing], DEADLINE_S, FIRST_EXCEPTION) == ({failing}, {late})
    gate.touch()

    assert wait([late, early, failing], DEADLINE_S) == ({late, early, failing}, set())


def test_the_initializer_runs_before_every_call_that_is_made_there(make: Make) -> None:
    with make(initializer=prepare, initargs=("scratch",)) as executor:
        assert executor.submit(what_was_prepared).result(DEADLINE_S) == "scratch"
        assert list(executor.map(what_was_prepared, range(20))) == ["scratch"] * 20


def test_the_initializer_runs_once_for_each_worker(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with make(initializer=prepare, initargs=("scratch", str(log))) as executor:
        futures = [executor.submit(add, n) for n in range(20)] + [executor.submit(what_was_prepared)]
        wait(futures, DEADLINE_S)

    assert 1 <= len(log.read_text()) <= LANES


def test_an_initializer_that_fails_breaks_the_executor(make: Make, gate: Path) -> None:
    executor = make(initializer=fail_to_prepare)

    with pytest.raises(BrokenExecutor):
        executor.submit(add, 1).result(DEADLINE_S)
    with pytest.raises(BrokenExecutor):
        submit_until_refused(executor)


def submit_until_refused(executor: Executor) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        executor.submit(add, 1)
        time.sleep(0.01)


def test_an_initializer_must_be_callable(make: Make) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        make(initializer=7)


# --- of our own and of the process pool --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["processes", "pool"], indirect=True)
def test_what_cannot_be_pickled_is_told_by_the_future(make: Make) -> None:
    executor = make()

    assert executor.submit(add, threading.Lock()).exception(DEADLINE_S) is not None  # type: ignore[arg-type]
    assert executor.submit(add, 1).result(DEADLINE_S) == 1


@pytest.mark.parametrize("make", ["processes", "pool"], indirect=True)
def test_a_remote_exception_has_the_remote_traceback_as_its_cause(make: Make) -> None:
    error = make().submit(fail, "there").exception(DEADLINE_S)

    assert error is not None
    assert "in fail" in str(error.__cause__)


@pytest.mark.parametrize("make", ["processes", "pool"], indirect=True)
def test_a_chunk_holds_one_item_at_least(make: Make) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        make().map(add, [1], chunksize=0)


# --- of our own ----------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_pickled_names_the_argument(pool_maker: Make) -> None:
    error = pool_maker().submit(add, threading.Lock()).exception(0)  # type: ignore[arg-type]

    assert isinstance(error, NotPicklable)
    with pytest.raises(NotPicklable):
        list(pool_maker().map(add, [threading.Lock()]))  # type: ignore[list-item]


def test_a_call_that_runs_can_be_cancelled(pool_maker: Make, gate: Path, tmp_path: Path) -> None:
    future = pool_maker().submit(mark_and_wait, str(tmp_path / "began"), str(gate))
    wait_for(str(tmp_path / "began"))

    assert future.cancel()


def test_a_failed_initializer_says_why_and_fails_what_waits(pool_maker: Make) -> None:
    executor = pool_maker(initializer=fail_to_prepare)
    results = executor.map(add, range(3))

    with pytest.raises(
        BrokenExecutor, match="fail_to_prepare failed on a node: LookupError: no scratch disk"
    ) as caught:
        list(results)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    with pytest.raises(BrokenExecutor, match="no scratch disk"):
        executor.submit(add, 1)


def test_an_executor_breaks_only_for_its_own_initializer(pool_maker: Make) -> None:
    executor = pool_maker(initializer=prepare, initargs=("scratch",))

    def break_something() -> None:
        raise BrokenExecutor("of the function's own")

    with pytest.raises(BrokenExecutor, match="of the function's own"):
        executor.submit(break_something).result(DEADLINE_S)
    assert executor.submit(add, 1).result(DEADLINE_S) == 1
