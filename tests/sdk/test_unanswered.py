"""A client that submits more than its operator answers waits, and is refused nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from skyward.sdk.unanswered import Unanswered

PATIENCE_S = 20.0


class Caller:
    """A thread that asks for room, and says when it has it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.went_on = threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._work()
        self.went_on.set()

    def is_waiting(self) -> bool:
        return not self.went_on.wait(0.02)

    def goes_on(self) -> bool:
        return self.went_on.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ("most", "most_bytes", "before"),
    [
        pytest.param(2, 1_000, (1, 1), id="as many as there may be"),
        pytest.param(9, 100, (60,), id="as many bytes as there may be"),
    ],
)
def test_waits_while_there_are(most: int, most_bytes: int, before: tuple[int, ...]) -> None:
    unanswered = Unanswered(most, most_bytes)
    for size in before:
        unanswered.enter(size)

    caller = Caller(lambda: unanswered.enter(50))

    assert caller.is_waiting()
    unanswered.leave(before[0])
    assert caller.goes_on()


def test_one_that_is_larger_than_all_room_goes_alone() -> None:
    unanswered = Unanswered(9, 100)

    unanswered.enter(5_000)

    assert Caller(lambda: unanswered.enter(1)).is_waiting()


def test_nobody_waits_once_nothing_will_be_answered() -> None:
    unanswered = Unanswered(1, 100)
    unanswered.enter(1)
    callers = [Caller(lambda: unanswered.enter(1)) for _ in range(3)]
    assert all(caller.is_waiting() for caller in callers)

    unanswered.end()

    assert all(caller.goes_on() for caller in callers)
