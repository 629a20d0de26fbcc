"""When a disruption budget holds, and how strict it is. Tests happen at 2025-06-15, 15:06:40 UTC, a Sunday."""

from __future__ import annotations

from typing import Any

import pytest

from skyward.api import DisruptionBudget
from skyward.planner.budgets import Budget, strictest
from tests.builders import NOW


def budget(nodes: int | str = 1, schedule: str | None = None, duration: str | None = None) -> DisruptionBudget:
    fields: dict[str, Any] = {"nodes": nodes, "schedule": schedule, "duration": duration}
    return DisruptionBudget.model_validate(fields)


@pytest.mark.parametrize(
    ("schedule", "duration", "expected"),
    [
        pytest.param("0 9 * * *", "8h", Budget(1, NOW - 400 + 7200), id="holds until 17:00"),
        pytest.param(
            "0 9 * * 1-5", "8h", Budget(None, NOW - 400 + 18 * 3600), id="not on a Sunday, next on Monday at 9:00"
        ),
        pytest.param("0 16 * * *", "1h", Budget(None, NOW - 400 + 3600), id="not yet"),
        pytest.param("6 15 * * *", "40s", Budget(None, NOW - 40 + 86400), id="its end does not belong to it"),
        pytest.param("6 15 * * *", "41s", Budget(1, NOW + 1), id="its last second does"),
        pytest.param("*/5 * * * *", "10m", Budget(1, NOW - 100 + 600), id="windows that overlap follow the newest"),
        pytest.param("0 0 14 6 *", "3d", Budget(1, NOW - 400 - 15 * 3600 + 2 * 86400), id="one that began yesterday"),
    ],
)
def test_a_scheduled_budget_holds_from_its_time_for_its_duration(
    schedule: str, duration: str, expected: Budget
) -> None:
    assert strictest([budget(1, schedule, duration)], 10, NOW) == expected


def test_the_minute_itself_belongs_to_the_window() -> None:
    assert strictest([budget(0, "6 15 * * *", "1m")], 10, NOW - 40).is_closed
    assert strictest([budget(0, "6 15 * * *", "1m")], 10, NOW - 40.5) == Budget(None, NOW - 40)


def test_the_strictest_of_those_that_hold_counts() -> None:
    found = strictest([budget("50%"), budget(3), budget(0, "0 16 * * *", "1h")], 10, NOW)

    assert found == Budget(3, NOW - 400 + 3600)


@pytest.mark.parametrize(("share", "nodes", "expected"), [("10%", 3, 1), ("10%", 25, 3), ("0%", 10, 0), (4, 2, 4)])
def test_a_share_rounds_up(share: int | str, nodes: int, expected: int) -> None:
    assert strictest([budget(share)], nodes, NOW).nodes == expected


def test_without_budgets_none_holds() -> None:
    assert strictest([], 10, NOW) == Budget(None, None)
