"""Functions that misbehave on a real node: each a typed error, and the node goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess
from skyward import errors
from tests.e2e.pools import double, manifest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("bad tasks")]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sky.PoolHandle]:
    operator = OperatorProcess(Path(tmp_path_factory.mktemp("bad tasks")))
    operator.start()
    try:
        operator.save("hello.yaml", manifest(nodes=1, resources="{memory: 300MB}"))
        operator.wait_ready("hello", 1)
        with sky.connect(operator.config) as session:
            yield session.pool("hello")
    finally:
        operator.clean_up()


def leave() -> None:
    import os

    os._exit(3)


def crash() -> None:
    import ctypes

    ctypes.string_at(0)


def hoard() -> int:
    held = []
    for _ in range(64):
        held.append(bytearray(b"x" * 32 * 1024 * 1024))
    return len(held)


def oversleep() -> None:
    import time

    time.sleep(60)


def flood() -> str:
    import sys

    for _ in range(100):
        sys.stdout.write("x" * 1024 * 1024)
    return "flooded"


def give_lock() -> object:
    import threading

    return threading.Lock()


def divide(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize(
    ("function", "error", "says"),
    [
        (leave, errors.ChildDied, "3"),
        (crash, errors.ChildDied, "SIGSEGV"),
        (hoard, errors.OutOfMemory, "300"),
        (give_lock, errors.ResultNotPicklable, "lock"),
    ],
    ids=["os._exit", "segfault", "memory", "result"],
)
def test_a_function_that_breaks_its_process_is_a_typed_error(
    pool: sky.PoolHandle, function: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        pool.options(max_attempts=1).run(function)

    assert "\n" not in str(caught.value).splitlines()[0]
    assert pool.run(double, 3) == 6


def test_a_function_that_oversleeps_is_stopped(pool: sky.PoolHandle) -> None:
    with pytest.raises(errors.TaskTimedOut):
        pool.options(timeout=1).run(oversleep)

    assert pool.run(double, 3) == 6


def test_a_flood_of_output_hurts_nobody(pool: sky.PoolHandle) -> None:
    assert pool.options(stream=False).run(flood) == "flooded"
    assert pool.run(double, 3) == 6


def test_a_remote_exception_comes_back_with_its_traceback(pool: sky.PoolHandle) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pool.run(divide, 0)

    assert "in divide" in str(caught.value.__cause__)


def test_an_argument_that_cannot_be_pickled_is_named_before_anything_is_sent(pool: sky.PoolHandle) -> None:
    with pytest.raises(errors.NotPicklable, match="double"):
        pool.run(double, threading.Lock())


def test_a_map_gives_errors_in_their_place(pool: sky.PoolHandle) -> None:
    results = list(pool.map(divide, [1, 0, 2], return_exceptions=True))

    assert results[0] == 1.0
    assert isinstance(results[1], ZeroDivisionError)
    assert results[2] == 0.5


def test_an_unknown_pool_is_refused_at_once_and_the_known_ones_are_named(pool: sky.PoolHandle) -> None:
    with pytest.raises(errors.PoolNotFound, match="hello"):
        pool._session.pool("nobody").run(double, 1)
