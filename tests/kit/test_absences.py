"""Since when listings lack an instance: from the first that lacks it on, for as long as it stays away."""

from __future__ import annotations

import pytest

from skyward.kit.absences import Absences
from tests.builders import NOW, make_instance, make_listing


def after(*readings: tuple[float, bool], horizon_s: float = 1000.0) -> Absences:
    """What is known after listings that began then and showed the instance, or did not."""
    absences = Absences(horizon_s)
    for at, shows in readings:
        absences.take(make_listing(*([make_instance("i-1")] if shows else []), at=NOW + at))
    return absences


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        pytest.param([], None, id="no listing yet"),
        pytest.param([(0, True)], None, id="shown"),
        pytest.param([(0, True), (10, False), (20, False)], 10, id="since the first that lacks it"),
        pytest.param([(0, False), (10, False)], 0, id="never seen by this operator"),
        pytest.param([(0, True), (10, False), (20, True)], None, id="it is back"),
        pytest.param([(0, True), (10, False), (20, True), (30, False)], 30, id="away again"),
    ],
)
def test_an_absence_begins_with_the_first_listing_without_it(
    readings: list[tuple[float, bool]], expected: float | None
) -> None:
    since = after(*readings).missing_since("i-1", after=0.0)

    assert since == (None if expected is None else NOW + expected)


def test_listings_before_it_must_show_do_not_count() -> None:
    absences = after((0, False), (10, False), (20, False))

    assert absences.missing_since("i-1", after=NOW + 5) == NOW + 10
    assert absences.missing_since("i-1", after=NOW + 21) is None


def test_an_absence_that_somebody_asks_about_keeps_its_beginning() -> None:
    absences = after((0, True), (10, False), horizon_s=50)

    for at in range(20, 2000, 10):
        absences.take(make_listing(at=NOW + at))
        assert absences.missing_since("i-1", after=0.0) == NOW + 10


def test_an_absence_lasts_at_least_as_long_as_anybody_needs_it_to() -> None:
    absences = after(*((at, False) for at in range(0, 2000, 10)), horizon_s=50)

    since = absences.missing_since("i-1", after=0.0)

    assert since is not None
    assert since <= NOW + 1990 - 50


def test_what_a_clock_that_was_set_back_wrote_down_is_forgotten() -> None:
    absences = after((1000, False), (0, False))

    assert absences.missing_since("i-1", after=0.0) == NOW
