"""A listing is compared with the one before: what is the same keeps its objects, what differs is named, nothing is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from skyward.facts import Instance, InstanceState, Listing
from skyward.kit.shown import Shown, look_through


def machine(name: str, launch: str | None, state: InstanceState = InstanceState.UP) -> Instance:
    return Instance("local", name, launch, state)


def look(before: Shown | None, *instances: Instance) -> Shown:
    return asyncio.run(look_through(Listing("local", instances, 0.0, 1.0), before))


def test_what_is_as_it_was_keeps_its_objects() -> None:
    first = look(None, machine("a", "one"), machine("b", "two"))
    second = look(first, machine("a", "one"), machine("b", "two", InstanceState.LEAVING))

    assert second.by_id["a"] is first.by_id["a"]
    assert second.by_launch["one"] is first.by_launch["one"]
    assert second.by_launch["two"] == (machine("b", "two", InstanceState.LEAVING),)
    assert second.listing.instances == (machine("a", "one"), machine("b", "two", InstanceState.LEAVING))
    assert second.touched == {"b", "two"}


def test_the_first_listing_is_about_everything() -> None:
    assert look(None, machine("a", "one")).touched is None


def test_what_vanished_is_named_and_its_launch_shows_nothing_any_more() -> None:
    second = look(look(None, machine("a", "one"), machine("b", "two")), machine("b", "two"))

    assert second.touched == {"a", "one"}
    assert set(second.by_launch) == {"two"}
    assert set(second.by_id) == {"b"}


def test_an_instance_that_carries_another_launch_moves_to_it() -> None:
    second = look(look(None, machine("a", "one"), machine("b", "one")), machine("a", "two"), machine("b", "one"))

    assert second.by_launch == {"one": (machine("b", "one"),), "two": (machine("a", "two"),)}
    assert second.touched == {"a", "one", "two"}


def test_instances_without_a_readable_mark_stand_together() -> None:
    assert look(None, machine("b", None), machine("a", None)).by_launch[None] == (
        machine("a", None),
        machine("b", None),
    )


def test_the_order_of_a_listing_is_no_difference() -> None:
    first = look(None, machine("a", "one"), machine("b", "one"))

    assert look(first, machine("b", "one"), machine("a", "one")).touched == frozenset()


def test_others_get_their_turn_while_a_long_listing_is_gone_through() -> None:
    seen: list[int] = []

    async def main() -> None:
        reading = asyncio.create_task(look_through(_long(), None))
        while not reading.done():
            seen.append(1)
            await asyncio.sleep(0)

    asyncio.run(main())

    assert len(seen) >= 4


def _long() -> Listing:
    return Listing("local", tuple(replace(machine("", "one"), id=str(number)) for number in range(2_000)), 0.0, 1.0)
