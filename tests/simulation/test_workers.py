"""Runs in processes of their own."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.simulation.workers import EndedWithoutAnswer, run_each

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def _square(number: int) -> int:
    time.sleep(0.02 * (number == 0))  # the first is not the first to answer
    return number * number


def _die_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def _tell_itself(number: int) -> int:
    return os.getpid()


def test_answers_come_in_the_order_of_the_arguments() -> None:
    assert list(run_each(_square, range(7), jobs=3)) == [number * number for number in range(7)]


def test_no_two_runs_share_a_process() -> None:
    assert len(set(run_each(_tell_itself, range(4), jobs=1))) == 4


def test_a_run_that_is_killed_is_told_with_what_it_ran() -> None:
    answers = run_each(_die_at_two, range(4), jobs=1)

    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(EndedWithoutAnswer, match="process for 2 ended"):
        next(answers)
