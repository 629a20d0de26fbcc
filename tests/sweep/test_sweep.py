"""A share of the crash sweep, and that the sweep itself would notice what it is there for."""

from __future__ import annotations

import math

import pytest

from tests.simulation.process import When
from tests.sweep.command import Work, sweep
from tests.sweep.points import Share, points_of
from tests.sweep.run import tell
from tests.sweep.stories import CORE, STORIES


@pytest.mark.slow
@pytest.mark.parametrize("name", CORE)
def test_a_death_anywhere_ends_where_no_death_does(name: str) -> None:
    done = sweep(Work(name, Share(2.0), 0, 1, math.inf))

    assert not done.found, "\n".join(f"{one.point}  {one.where}\n{one.violations[0]}" for one in done.found)


def test_shares_are_disjoint_and_together_everything() -> None:
    telling = tell(STORIES["provision"])

    shares = [points_of(telling, Share(10.0, number)) for number in range(10)]

    whole = points_of(telling, Share())
    assert len(whole) > 2.5 * len(telling.calls), "nearly every call may end before it, in it and after it"
    assert sorted(map(str, (point for share in shares for point in share))) == sorted(map(str, whole))
    assert all({point.when for point in share} == set(When) for share in shares)


def test_the_same_telling_is_the_same_every_time() -> None:
    first, second = (tell(STORIES["provision-on-listed"], keep=True) for _ in range(2))

    assert first.lines == second.lines
    assert first.calls == second.calls


def test_touches_of_hosts_and_files_count_beside_those_of_store_and_provider() -> None:
    names = {call.name for call in tell(STORIES["a-pool-is-deleted-through-the-api"]).calls}

    assert {"create.request", "delete.request", "list.request", "ssh agent", "write .skyward-source"} <= names
    assert any(name.startswith("commit ") for name in names)
    assert any(name.startswith("remove hello") for name in names)
