"""A clock whose time does not jump."""

from __future__ import annotations

import pytest

from skyward.kit.steady import LONGEST_STEP_S, SteadyClock, steady
from tests.fakes.time import START, FakeClock, WallClock


@pytest.fixture
def real() -> FakeClock:
    return FakeClock()


@pytest.fixture
def wall(real: FakeClock) -> WallClock:
    return WallClock(real)


def test_time_goes_on_whatever_the_wall_clock_says(real: FakeClock, wall: WallClock) -> None:
    clock = SteadyClock(wall)
    wall.off_s = -5_000
    real.advance(10)

    assert clock.now() == pytest.approx(START + 10)
    assert clock.off_s == pytest.approx(-5_000)


def test_drift_is_worn_off_slowly(real: FakeClock, wall: WallClock) -> None:
    clock = SteadyClock(wall)
    wall.off_s = 2.0
    clock.slew(10)
    assert clock.off_s == pytest.approx(1.5)
    for _ in range(5):
        clock.slew(10)

    assert clock.off_s == pytest.approx(0)


def test_a_step_begins_everything_anew_and_makes_nothing_older(real: FakeClock, wall: WallClock) -> None:
    clock = SteadyClock(wall)
    real.advance(100)
    wall.off_s = 3_600
    clock.step()

    assert clock.now() == clock.began == pytest.approx(START + 3_700)
    assert clock.age_now == pytest.approx(START + 100)


def test_time_goes_on_from_what_is_on_record(wall: WallClock) -> None:
    clock = SteadyClock(wall)
    clock.go_on_from(START + 500)
    assert clock.now() == clock.began == START + 500
    clock.go_on_from(START + 400)
    assert clock.now() == START + 500


def test_a_record_of_a_far_future_is_not_believed(wall: WallClock) -> None:
    clock = SteadyClock(wall)
    clock.go_on_from(START + 2 * LONGEST_STEP_S)

    assert clock.now() == START


def test_an_operator_has_one_steady_clock(wall: WallClock) -> None:
    clock = SteadyClock(wall)

    assert steady(clock) is clock
    assert steady(wall).now() == clock.now()
