"""joblib on a pool: the stand-in's nodes run in this process, so what is tested is the contract with joblib."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
import pytest

from skyward.sdk.integrations.joblib import PoolBackend
from tests.sdk.world import ThreadedWorld, threaded_world

release = threading.Event()


@pytest.fixture(scope="module")
def world() -> Iterator[ThreadedWorld]:
    with threaded_world(nodes=2, lanes=2) as world:
        yield world


@contextmanager
def on_pool(world: ThreadedWorld, lanes: int = 4) -> Iterator[PoolBackend]:
    with world.session() as session:
        backend = PoolBackend(session.pool("hello"), lanes)
        with joblib.parallel_config(backend=backend):
            yield backend


def double(n: int) -> int:
    return 2 * n


def fail_on(n: int, bad: int) -> int:
    if n == bad:
        raise ValueError(f"item {n}")
    release.wait(20)
    return n


def nested(n: int) -> tuple[str, list[int]]:
    parallel = joblib.Parallel(n_jobs=2)
    values = parallel(joblib.delayed(double)(m) for m in range(n))
    return type(parallel._backend).__name__, values


def test_results_are_in_order_and_small_calls_travel_in_batches(world: ThreadedWorld) -> None:
    before = len(world.world.queue.tasks_by_uid)
    with on_pool(world):
        found = joblib.Parallel()(joblib.delayed(double)(n) for n in range(3000))

    assert found == [2 * n for n in range(3000)]
    assert len(world.world.queue.tasks_by_uid) - before < 1500


def test_results_can_be_taken_one_by_one(world: ThreadedWorld) -> None:
    with on_pool(world):
        found = joblib.Parallel(return_as="generator")(joblib.delayed(double)(n) for n in range(20))
        assert list(found) == [2 * n for n in range(20)]


def test_the_number_of_jobs_counts_the_pools_lanes(world: ThreadedWorld) -> None:
    with on_pool(world, lanes=6) as backend:
        assert joblib.effective_n_jobs(-1) == 6
        assert joblib.effective_n_jobs(-2) == 5
        assert joblib.effective_n_jobs(3) == 3
        assert backend.effective_n_jobs(-100) == 1
        with pytest.raises(ValueError, match="n_jobs == 0"):
            backend.effective_n_jobs(0)


def test_a_failing_call_is_raised_and_aborts_the_others(world: ThreadedWorld) -> None:
    release.clear()
    try:
        with on_pool(world) as backend, pytest.raises(ValueError, match="item 0"):
            joblib.Parallel(n_jobs=4, batch_size=1)(joblib.delayed(fail_on)(n, 0) for n in range(4))
        assert not backend._pending
    finally:
        release.set()


def test_what_a_call_does_in_parallel_itself_runs_in_threads(world: ThreadedWorld) -> None:
    with on_pool(world):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(nested)(n) for n in (3, 4))

    assert found == [("ThreadingBackend", [0, 2, 4]), ("ThreadingBackend", [0, 2, 4, 6])]


def test_importing_the_package_asks_for_no_joblib() -> None:
    import skyward as sky

    assert sky.integrations.joblib.backend is not None
    with pytest.raises(AttributeError):
        _ = sky.integrations.nothing
