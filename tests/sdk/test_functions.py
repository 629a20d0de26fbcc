from __future__ import annotations

import pickle
from collections.abc import Iterator

import cloudpickle
import pytest

from skyward.errors import UserError
from skyward.sdk.functions import Call, RemoteFunction, function
from skyward.sdk.session import Session
from tests.sdk.world import ThreadedWorld, rank, threaded_world, timeout_of


@pytest.fixture(scope="module")
def world() -> Iterator[ThreadedWorld]:
    with threaded_world(nodes=2) as world:
        yield world


@pytest.fixture
def session(world: ThreadedWorld) -> Iterator[Session]:
    with world.session() as session:
        yield session


@function
def double(n: int) -> int:
    """Twice as much."""
    return 2 * n


@function(timeout=60, max_attempts=2)
def limit() -> float | None:
    return timeout_of()


@function
def factorial(n: int) -> int:
    return 1 if n == 0 else n * factorial(n - 1)  # type: ignore[operator, return-value]


@function
def fail(text: str) -> None:
    raise ValueError(text)


def test_a_call_waits_for_its_pool(session: Session) -> None:
    pool = session.pool("hello")

    assert isinstance(double(4), Call)
    assert double(4) >> pool == 8
    assert function(rank)() @ pool == [0, 1]
    assert (double(1) & double(2) & (double(3) & double(4))) >> pool == (2, 4, 6, 8)
    assert double.local(4) == 8


def test_the_other_ways_to_call_take_it_too(session: Session) -> None:
    pool = session.pool("hello")

    assert pool.run(double, 4) == pool.submit(double, 4).result(20) == 8  # type: ignore[comparison-overlap]
    assert list(pool.map(double, range(3))) == [0, 2, 4]
    with pool.executor() as executor:
        assert executor.submit(double, 4).result(20) == 8


def test_on_a_node_it_is_the_plain_function(session: Session) -> None:
    assert pickle.loads(cloudpickle.dumps(factorial))(5) == 120
    assert factorial(5) >> session.pool("hello") == 120


def test_its_options_hold_but_for_those_that_the_caller_names(session: Session) -> None:
    pool = session.pool("hello")

    assert limit() >> pool == 60
    assert limit() >> pool.options(priority=1) == 60
    assert limit() >> pool.options(timeout=5) == 5


def test_the_first_failure_of_several_calls_is_raised(session: Session) -> None:
    with pytest.raises(ValueError, match="first"):
        (fail("first") & double(1)) >> session.pool("hello")


def test_it_keeps_the_functions_name_and_words() -> None:
    assert isinstance(double, RemoteFunction)
    assert (double.__name__, double.__doc__) == ("double", "Twice as much.")
    assert repr(double) == "<function double for a pool>"


def test_bad_options_are_refused_where_they_are_written() -> None:
    with pytest.raises(UserError, match="timeout is 0"):
        function(timeout=0)
    with pytest.raises(UserError, match="max_attempts is 0"):
        function(max_attempts=0)
    with pytest.raises(UserError, match="options go by name"):
        function(60)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        double(1) & 2  # type: ignore[operator]
