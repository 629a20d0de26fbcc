"""Options of calls: as programs name them, as they travel, and what comes of them on the real queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import skyward as sky
from skyward.errors import Invalid, TaskTimedOut, UserError
from skyward.sdk.options import checked, max_attempts_of, policy_of
from skyward.sdk.pool import CallOptions
from skyward.sdk.session import Session
from skyward_agent.wire.messages import Policy
from tests.gateway.world import POOL
from tests.sdk.test_durable import DurableWorld, durable_world

TRIES: dict[str, int] = {}


@pytest.fixture(scope="module")
def world() -> Iterator[DurableWorld]:
    with durable_world() as world:
        yield world


@pytest.fixture
def session(world: DurableWorld) -> Iterator[Session]:
    with world.session() as session:
        yield session


def fail_twice(name: str) -> int:
    from tests.sdk import test_options

    tries = test_options.TRIES
    tries[name] = tries.get(name, 0) + 1
    if tries[name] < 3:
        raise ConnectionError("not yet")
    return tries[name]


def wait_long() -> None:
    time.sleep(1)


def options(**given: Any) -> CallOptions:
    return CallOptions(policy=checked(given))


def test_an_ordinary_call_carries_no_policy() -> None:
    assert policy_of(options()) is None
    assert max_attempts_of(options()) == 3


def test_options_travel_as_fields_of_a_policy() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    given = options(retry_on=(OSError, "lib.Busy"), retry_backoff=2, deadline=at, selector={"zone": "a"}, ttl=0)

    assert policy_of(given) == Policy(
        retry_on=("OSError", "lib.Busy"),
        max_retries=2,
        backoff_s=2.0,
        deadline_at=at.timestamp(),
        selector={"zone": "a"},
        ttl_s=0.0,
    )


def test_tries_follow_from_what_is_asked_for() -> None:
    assert max_attempts_of(options(delivery="at-most-once")) == 1
    assert max_attempts_of(options(retry_on=OSError, max_retries=7)) == 8


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"delivery": "once"}, "use at-least-once or at-most-once"),
        ({"retry_on": 3.5}, "not iterable|exception classes"),
        ({"retry_on": (int,)}, "exception classes or their names"),
        ({"max_retries": 2}, "given without retry_on"),
        ({"retry_causes": ("Failed",)}, "the causes are"),
        ({"deadline": datetime(2030, 1, 1)}, "without a zone"),
        ({"deadline": -1}, "seconds above 0"),
        ({"on_node_loss": "panic"}, "use retry, fail, replaceRank"),
        ({"ttl": -1}, "seconds from 0 on"),
        ({"colour": "red"}, "there is no option 'colour'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(given: dict[str, Any], says: str) -> None:
    with pytest.raises((UserError, TypeError), match=says):
        checked(given)


def test_an_exception_that_was_named_is_tried_again(session: Session) -> None:
    pool = session.pool("hello").options(retry_on=ConnectionError, retry_backoff=0.01)

    assert pool.run(fail_twice, "pool") == 3


def test_a_functions_own_options_hold_but_for_those_of_the_pool(session: Session) -> None:
    patient = sky.function(retry_on="ConnectionError", retry_backoff=0.01, max_retries=1)(fail_twice)

    with pytest.raises(ConnectionError):
        session.pool("hello").run(patient, "own")
    assert session.pool("hello").options(retry_on=ConnectionError, max_retries=2).run(patient, "both") == 3


def test_a_deadline_ends_what_runs(session: Session) -> None:
    with pytest.raises(TaskTimedOut, match="deadline"):
        session.pool("hello").options(deadline=0.05).run(wait_long)


def test_a_refusal_of_the_operator_is_told_in_its_words(session: Session) -> None:
    with pytest.raises(Invalid, match="max_attempts to 1"):
        session.pool("hello").options(delivery="at-most-once", max_attempts=2).run(len, ())


def test_results_that_are_kept_until_delivered_are_gone_then(world: DurableWorld, session: Session) -> None:
    pool = session.pool("hello").options(ttl=0, name="fleeting")

    assert list(pool.map(len, [(), (1,)])) == [0, 1]

    deadline = time.monotonic() + 10
    while any(task.spec.name == "fleeting" for task in world.do(world.world.queue.tasks())):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert world.world.queue.counts(POOL)[0] == 0
