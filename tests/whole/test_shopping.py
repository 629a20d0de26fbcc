"""A pool that shops at several providers: where its nodes are made, and that no slot ever has two machines."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import NodeCondition, PoolCondition, Reason, find
from skyward.facts import SPOT, Offering
from tests.whole.world import World, condition, run_world

A_SPOT = Offering("shop-a", "spotty", "eu", capacity_type=SPOT, usd_per_hour=0.2)
A_DEMAND = Offering("shop-a", "steady", "eu", usd_per_hour=1.0)
B_DEMAND = Offering("shop-b", "other", "us", usd_per_hour=0.6)
SHOPS = {"local": (Offering("local", "small"),), "shop-a": (A_SPOT, A_DEMAND), "shop-b": (B_DEMAND,)}
BOTH = ({"name": "shop-a"}, {"name": "shop-b"})


async def types(world: World) -> list[str]:
    """What serves, by slot."""
    nodes = [node for node in await world.nodes() if node.metadata.deletion_timestamp is None]
    return [node.status.offering for node in sorted(nodes, key=lambda node: node.spec.slot)]


async def has_types(world: World, *expected: str) -> bool:
    return await types(world) == list(expected) and await world.is_settled()


def test_the_cheapest_of_two_providers_is_taken_and_another_when_it_is_sold_out_until_it_is_back() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.cloud.faults.sold_out = lambda offering: offering == B_DEMAND
        await world.apply(nodes=2, providers=BOTH)
        await world.settled()
        assert await types(world) == ["steady", "steady"]
        assert {machine.offering.provider for machine in world.cloud.alive.values()} == {"shop-a"}

        world.cloud.faults.sold_out = lambda offering: False
        await asyncio.sleep(200)  # its cool-down
        world.cloud.lose(next(iter(world.cloud.alive)))
        await world.until(lambda: _counts(world, {"steady": 1, "other": 1}), within_s=900)

        assert world.most_machines() <= 3, "a lost machine, its neighbour and its replacement"

    run_world(story, offerings=SHOPS)


async def _counts(world: World, expected: dict[str, int]) -> bool:
    found = await types(world)
    return {name: found.count(name) for name in found} == expected and await world.is_settled()


def test_ordered_offerings_switch_the_driver_and_never_hold_two_machines_for_a_slot() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.cloud.faults.sold_out = lambda offering: offering.provider == "shop-a"
        ways = {"ordered": ({"provider": "shop-a", "max_hourly_cost": "5"}, {"provider": "shop-b"})}
        await world.apply(nodes=3, offerings=ways)
        await world.settled()

        assert await types(world) == ["other"] * 3
        assert world.most_machines() == 3
        told = [event.note for event in await world.events() if event.reason is Reason.LAUNCHING]
        assert any("entry 2 of offerings.ordered" in note for note in told)

    run_world(story, offerings=SHOPS)


def test_a_share_is_kept_on_demand_and_the_rest_is_spot() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=4, providers=BOTH[:1], allocation="spot", spot={"base_on_demand": "50%"})
        await world.settled()

        assert await types(world) == ["steady", "steady", "spotty", "spotty"]
        kinds = [node.status.capacity_type for node in sorted(await world.nodes(), key=lambda node: node.spec.slot)]
        assert kinds == ["on-demand", "on-demand", "spot", "spot"]

    run_world(story, offerings=SHOPS)


def test_spot_falls_back_after_its_patience_and_returns_when_there_is_some_again() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.cloud.faults.sold_out = lambda offering: offering.capacity_type == SPOT
        began = world.clock.now()
        spot = {"fallback_after": "5m", "return_after": "1h"}
        await world.apply(nodes=2, providers=BOTH[:1], allocation="spot", spot=spot)
        await world.until(lambda: has_types(world, "steady", "steady"), within_s=1200)
        assert world.clock.now() - began >= 300

        world.cloud.faults.sold_out = lambda offering: False
        fell_back = world.clock.now()
        await world.until(lambda: has_types(world, "spotty", "spotty"), within_s=7200)

        assert world.clock.now() - fell_back >= 3500
        assert world.most_machines() <= 3
        version = await world.version()
        await asyncio.sleep(600)
        assert await world.version() == version, "a settled world writes nothing"

    run_world(story, offerings=SHOPS)


def test_while_spot_stays_sold_out_nothing_is_replaced_for_it() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.cloud.faults.sold_out = lambda offering: offering.capacity_type == SPOT
        spot = {"return_after": "30m"}
        await world.apply(nodes=3, providers=BOTH[:1], allocation="spot-if-available", spot=spot)
        await world.settled()
        made = world.cloud.calls["create"]

        await asyncio.sleep(4 * 3600)

        tries = world.cloud.calls["create"] - made
        assert tries <= 2 * 8, "in each half hour one node finds out for all, and is made on demand again"
        assert world.most_machines() <= 4

    run_world(story, offerings=SHOPS)


@pytest.mark.parametrize("accelerator", ["H100", "H1OO"])
def test_a_pool_that_nothing_fits_says_so_and_makes_nothing(accelerator: str) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1, providers=BOTH, accelerator=accelerator)
        await world.until(lambda: world.pool_is("hello", PoolCondition.CAPACITY_AVAILABLE, "False/NoOfferingFits"))

        found = find((await world.pool()).status.conditions, PoolCondition.CAPACITY_AVAILABLE)
        assert found is not None
        assert "ruled out 2 by accelerator" in found.message or "ruled out 3 by accelerator" in found.message
        (node,) = await world.nodes()
        assert condition(node, NodeCondition.LAUNCHED) == "False/NoOfferingFits"
        assert not world.cloud.calls["create"]

    run_world(story, offerings=SHOPS)
