"""Which instances mean that the records are not the newest."""

from __future__ import annotations

import pytest

from skyward.facts import Instance, InstanceState
from skyward.kit.lineage import Doubt, find_doubt
from tests.builders import make_instance, make_listing


def _doubt(*instances: Instance, launches: tuple[str, ...] = ("known",), before: int | None = 5) -> Doubt | None:
    return find_doubt(make_listing(*instances), launches, has_made=lambda _, id_: id_ == "made", epoch_before=before)


@pytest.mark.parametrize(
    ("epoch", "is_strange"),
    [
        pytest.param(6, True, id="of an operator that came later"),
        pytest.param(5, True, id="of the last operator, after the backup was taken"),
        pytest.param(4, False, id="of one whose records were long complete: a leak"),
        pytest.param(None, False, id="of a provider that keeps no epoch: a leak"),
    ],
)
def test_an_unknown_instance_is_strange_when_these_records_ought_to_know_it(
    epoch: int | None, is_strange: bool
) -> None:
    assert (_doubt(make_instance(launch="unknown", epoch=epoch)) is not None) is is_strange


def test_what_a_launch_on_record_made_is_never_strange() -> None:
    assert _doubt(make_instance(launch="known", epoch=9)) is None
    assert _doubt(make_instance("made", launch=None, epoch=9)) is None


def test_records_without_any_launch_know_no_instance_at_all() -> None:
    assert _doubt(make_instance(launch="unknown"), launches=(), before=0) is not None
    assert _doubt(make_instance(launch="unknown"), launches=(), before=None) is not None
    assert _doubt(make_instance(launch="unknown", state=InstanceState.GONE), launches=()) is None


def test_the_hash_names_exactly_what_was_found_in_any_order() -> None:
    one, two = make_instance("a", "x", epoch=7), make_instance("b", "x", epoch=7)

    both, reversed_, alone = _doubt(one, two), _doubt(two, one), _doubt(one)

    assert both is not None
    assert reversed_ is not None
    assert alone is not None
    assert both.hash == reversed_.hash != alone.hash
    assert both.epoch == 7
    assert f"skyctl adopt {both.hash}" in str(both)
