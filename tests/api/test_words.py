from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from skyward.api import PoolCondition, PoolSpec, Reason, Status, set_condition, template_hash
from skyward.api.quantities import parse_duration, parse_size, resolve_share

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def spec(**fields: Any) -> PoolSpec:
    return PoolSpec.model_validate({"nodes": 1, "provider": "local", **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "977802919b34b0bf"),
        ({"image": {"pip": ["numpy"]}}, "321a12fefd31e337"),
        ({"image": {"python": "3.12", "env": {"A": "1"}, "setup": ["true"]}}, "81b14c782ac99100"),
        ({"connection": "tunnel", "resources": {"memory": "1GB"}}, "c9a6a298dc3d0625"),
    ],
    ids=["smallest", "packages", "image", "connection"],
)
def test_the_hash_of_an_old_manifest_never_changes(fields: dict[str, Any], expected: str) -> None:
    """A new version of the operator must not replace anybody's nodes: add cases, never change one."""
    assert template_hash(spec(**fields)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"nodes": 5},
        {"paused": True},
        {"env": {"A": "1"}},
        {"concurrency": 4},
        {"drainTimeout": "1m"},
        {"rollout": {"maxSurge": 1}},
        {"connection": "auto"},
        {"image": {"pip": []}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_changes_in_place_or_says_the_default_replaces_no_node(fields: dict[str, Any]) -> None:
    assert template_hash(spec(**fields)) == template_hash(spec())


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("1h30m", 5400), ("3d", 259200), ("250ms", 0.25), ("1.5h", 5400)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "5 s", "1h-30m", "off", "1y"])
def test_what_is_not_a_duration_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_duration(text)


def test_sizes_know_both_kinds_of_units() -> None:
    assert (parse_size("512MB"), parse_size("2GiB"), parse_size("1.5Ki")) == (512_000_000, 2 * 2**30, 1536)


def test_shares_round_as_asked() -> None:
    assert resolve_share("25%", 5, round_up=False) == 1
    assert resolve_share("25%", 5, round_up=True) == 2
    assert resolve_share(3, 5, round_up=True) == 3


def test_a_rollout_that_could_never_move_is_refused() -> None:
    with pytest.raises(ValidationError, match="cannot both be 0"):
        spec(rollout={"maxUnavailable": 0, "maxSurge": 0})


def test_the_transition_time_moves_only_with_the_status() -> None:
    later = NOW + timedelta(minutes=5)
    first = set_condition((), PoolCondition.READY, Status.FALSE, Reason.TOO_FEW_NODES, "0 of 2", now=NOW)

    same = set_condition(first, PoolCondition.READY, Status.FALSE, Reason.TOO_FEW_NODES, "1 of 2", now=later)
    other = set_condition(same, PoolCondition.READY, Status.TRUE, Reason.AS_DESIRED, now=later)

    assert (same[0].message, same[0].last_transition_time) == ("1 of 2", NOW)
    assert other[0].last_transition_time == later
