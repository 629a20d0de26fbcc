"""What a template asks of a machine: which offering is chosen, and what is said of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import NodeCondition, PoolSpec, Reason, Requirement, Status
from skyward.api.providers import plug_in
from skyward.facts import SPOT, CoolDown, ObservedMarket, Offering, Supply, identify
from skyward.planner import accepts, choose_offering, relevant, return_due_at, shopping_of, spot_again, terms_of
from skyward.planner.fitting import meets
from skyward.planner.market import OfferingChoice
from skyward.planner.shopping import Terms
from tests.builders import NOW, make_condition, make_node, make_offering, make_pool

plug_in("shop-a")
plug_in("shop-b")


def gpu(
    name: str, price: float, *, provider: str = "shop-a", accelerator: str = "H100", count: int = 1, **more: Any
) -> Offering:
    found = identify(accelerator, count)
    more = {"vcpus": 16.0, "memory_gb": 64.0, "disk_gb": 500.0, **more}
    return make_offering(name, provider, price, accelerator=found, **more)


def choose(
    *offerings: Offering, terms: Terms | None = None, cools: tuple[CoolDown, ...] = (), **fields: Any
) -> OfferingChoice:
    where = {} if "offerings" in fields else {"providers": [{"name": "shop-a"}, {"name": "shop-b"}]}
    spec = PoolSpec.model_validate({"nodes": 1, **where, **fields})
    market = ObservedMarket(offerings, cools)
    return choose_offering(shopping_of(spec.template()), market, NOW, terms or Terms())


def chosen(*offerings: Offering, **asked: Any) -> str | None:
    choice = choose(*offerings, **asked)
    return None if choice.offering is None else choice.offering.name


def cool(offering: Offering, for_s: float = 60.0) -> CoolDown:
    return CoolDown(offering.id, NOW + for_s, "sold out", Reason.INSUFFICIENT_CAPACITY)


BIG, SMALL = gpu("big", 9.0, count=8), gpu("small", 1.0)
PLAIN = make_offering("plain", "shop-a", 0.1, vcpus=4.0, memory_gb=16.0)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "plain"),
        ({"accelerator": "H100"}, "small"),
        ({"accelerator": "nvidia h100:8"}, "big"),
        ({"accelerator": "H100:2"}, None),
        ({"accelerator": "A100"}, None),
        ({"resources": {"cpu": 8}}, "small"),
        ({"resources": {"cpu": "..8"}}, "plain"),
        ({"resources": {"memory": "64GB+"}}, "small"),
        ({"resources": {"memory": "65GB"}}, None),
        ({"resources": {"disk": "1GB"}}, "small"),
        ({"instanceType": "big"}, "big"),
        ({"instanceType": "big", "accelerator": "A100", "resources": {"cpu": 99}}, "big"),
        ({"maxHourlyCost": "0.05"}, None),
        ({"accelerator": "H100:8", "maxHourlyCost": "9"}, "big"),
        ({"requirements": [{"key": "gpu-count", "operator": "Gt", "values": ["1"]}]}, "big"),
        ({"requirements": [{"key": "gpu-name", "operator": "In", "values": ["NVIDIA H100"]}]}, "small"),
        ({"requirements": [{"key": "gpu-name", "operator": "DoesNotExist"}]}, "plain"),
        ({"requirements": [{"key": "hourly-cost", "operator": "Gt", "values": ["0.5"]}]}, "small"),
        ({"requirements": [{"key": "instance-type", "operator": "NotIn", "values": ["plain"]}]}, "small"),
        ({"requirements": [{"key": "zone", "operator": "In", "values": ["a"]}]}, None),
    ],
)
def test_takes_the_cheapest_of_what_is_asked_for(fields: dict[str, Any], expected: str | None) -> None:
    terms = terms_of(make_pool(), make_node(make_pool()), NOW)
    if "maxHourlyCost" in fields:
        pool = make_pool(providers=({"name": "shop-a"},), max_hourly_cost=fields["maxHourlyCost"])
        terms = terms_of(pool, make_node(pool), NOW)

    assert chosen(BIG, SMALL, PLAIN, terms=terms, **fields) == expected


@pytest.mark.parametrize(
    ("operator", "values", "known", "unknown"),
    [("In", ["4"], True, False), ("NotIn", ["4"], False, True), ("Gt", ["3"], True, False), ("Lt", ["5"], True, False)],
)
def test_what_a_provider_does_not_tell_fits_not_in_alone(
    operator: Any, values: list[str], known: bool, unknown: bool
) -> None:
    requirement = Requirement(key="cpu", operator=operator, values=tuple(values))

    assert meets(PLAIN, requirement) is known
    assert meets(replace(PLAIN, vcpus=None), requirement) is unknown


def test_a_place_bounds_where() -> None:
    here, there = gpu("here", 2.0, region="eu", zone="eu-1"), gpu("there", 1.0, region="us", zone="us-1")
    places = [{"name": "shop-a", "region": "eu"}]

    choice = choose(here, there, providers=places)

    assert choice.offering == here
    assert choice.place is not None
    assert choice.place.region == "eu"
    assert chosen(here, there, providers=[{"name": "shop-a", "region": "eu", "zone": "eu-2"}]) is None


# --- offerings -------------------------------------------------------------------------------------------------------


def test_ordered_is_strict_and_falls_through_by_what_is_free() -> None:
    dear, cheap = gpu("dear", 9.0), gpu("cheap", 1.0, provider="shop-b")
    ways = {"ordered": [{"provider": "shop-a"}, {"provider": "shop-b"}]}

    assert chosen(dear, cheap, offerings=ways) == "dear"
    assert chosen(dear, cheap, offerings=ways, cools=(cool(dear),)) == "cheap"
    assert chosen(replace(dear, supply=Supply.NONE), cheap, offerings=ways) == "cheap"
    told = choose(dear, cheap, offerings=ways, cools=(cool(dear),))
    assert "entry 2 of offerings.ordered as those before it have none free" in told.message
    assert dict(told.inputs)[dear.id] == "refused lately: sold out"


def test_any_of_takes_the_cheapest_of_all() -> None:
    dear, cheap = gpu("dear", 9.0), gpu("cheap", 1.0, provider="shop-b", accelerator="A100")
    ways = {"anyOf": [{"provider": "shop-a", "accelerator": "H100"}, {"provider": "shop-b", "accelerator": "A100"}]}

    assert chosen(dear, cheap, offerings=ways) == "cheap"
    assert chosen(dear, cheap, offerings=ways, cools=(cool(cheap),)) == "dear"


def test_an_entry_takes_from_its_pool_what_it_leaves_out_and_requirements_of_both_hold() -> None:
    ways = {"anyOf": [{"provider": "shop-a", "requirements": [{"key": "cpu", "operator": "Gt", "values": [8]}]}]}
    fields = {
        "accelerator": "H100",
        "requirements": [{"key": "instance-type", "operator": "NotIn", "values": ["small"]}],
    }
    other = gpu("other", 2.0)

    assert chosen(SMALL, other, PLAIN, offerings=ways, **fields) == "other"
    assert chosen(replace(other, vcpus=8.0), offerings=ways, **fields) is None


# --- capacity types --------------------------------------------------------------------------------------------------

DEMAND, CHEAP = gpu("demand", 3.0), gpu("spot", 1.0, capacity_type=SPOT)


@pytest.mark.parametrize(
    ("allocation", "expected"),
    [(None, "demand"), ("on-demand", "demand"), ("spot", "spot"), ("spot-if-available", "spot"), ("cheapest", "spot")],
)
def test_the_allocation_says_which_capacity_type(allocation: str | None, expected: str) -> None:
    assert chosen(DEMAND, CHEAP, **({} if allocation is None else {"allocation": allocation})) == expected


def test_spot_comes_before_what_stands_in_for_it_even_if_that_is_cheaper() -> None:
    bargain = gpu("bargain", 0.5)

    assert chosen(bargain, CHEAP, allocation="spot-if-available") == "spot"
    assert chosen(bargain, CHEAP, allocation="cheapest") == "bargain"


def test_spot_falls_back_at_once_after_a_while_or_never() -> None:
    cools = (cool(CHEAP),)
    late = Terms(fallback_after_s=600.0, waits_since=NOW - 300)

    assert chosen(DEMAND, CHEAP, allocation="spot-if-available", cools=cools) == "demand"
    assert chosen(DEMAND, CHEAP, allocation="spot", cools=cools) is None
    waits = choose(DEMAND, CHEAP, allocation="spot", cools=(cool(CHEAP, 900.0),), terms=late)
    assert (waits.reason, waits.retry_at) == (Reason.INSUFFICIENT_CAPACITY, NOW + 300)
    assert "on demand is taken once spot.fallbackAfter has passed" in waits.message
    after = replace(late, waits_since=NOW - 600)
    assert chosen(DEMAND, CHEAP, allocation="spot", cools=cools, terms=after) == "demand"
    assert (
        "on demand as no spot machine is free"
        in choose(DEMAND, CHEAP, allocation="spot-if-available", cools=cools).message
    )


def test_patience_ends_also_where_no_spot_machine_is_offered_at_all() -> None:
    terms = Terms(fallback_after_s=600.0, waits_since=NOW)

    assert choose(DEMAND, allocation="spot", terms=terms).retry_at == NOW + 600
    assert chosen(DEMAND, allocation="spot", terms=replace(terms, waits_since=NOW - 600)) == "demand"
    assert choose(DEMAND, allocation="spot").reason is Reason.NO_OFFERING_FITS


def test_the_lowest_slots_are_kept_on_demand() -> None:
    pool = make_pool(nodes=5, providers=({"name": "shop-a"},), allocation="spot", spot={"base_on_demand": "25%"})

    taken = [
        chosen(DEMAND, CHEAP, allocation="spot", terms=terms_of(pool, make_node(pool, slot), NOW)) for slot in range(5)
    ]

    assert taken == ["demand", "demand", "spot", "spot", "spot"]


def test_patience_counts_from_the_first_look_that_found_nothing_and_anew_with_each_operator() -> None:
    pool = make_pool(providers=({"name": "shop-a"},), allocation="spot", spot={"fallback_after": "10m"})
    told = make_condition(NodeCondition.LAUNCHED, Status.FALSE, Reason.INSUFFICIENT_CAPACITY, at=NOW - 500)
    waiting = make_node(pool, conditions=(told,))

    assert terms_of(pool, make_node(pool), NOW).fallback_at("spot") == NOW + 600
    assert terms_of(pool, waiting, NOW).fallback_at("spot") == NOW + 100
    assert terms_of(pool, waiting, NOW, started_at=NOW - 50).fallback_at("spot") == NOW + 550


def test_a_launch_is_shared_only_by_nodes_that_may_be_made_on_it() -> None:
    template = PoolSpec.model_validate({"nodes": 2, "provider": "shop-a", "allocation": "spot"}).template()
    shopping = shopping_of(template)

    assert accepts(shopping, Terms(), CHEAP, NOW)
    assert not accepts(shopping, Terms(on_demand=True), CHEAP, NOW)
    assert accepts(shopping, Terms(on_demand=True), DEMAND, NOW)
    assert not accepts(shopping, Terms(), DEMAND, NOW)
    assert not accepts(shopping, Terms(most_usd_per_hour=0.5), CHEAP, NOW)


# --- what is said ----------------------------------------------------------------------------------------------------


def test_says_what_spoke_against_the_others_and_only_of_a_few() -> None:
    many = [gpu(f"n{number:02d}", 5.0 + number) for number in range(20)]

    choice = choose(SMALL, BIG, PLAIN, *many, accelerator="H100", terms=Terms(most_usd_per_hour=20.0))

    told = dict(choice.inputs)
    assert told["offering"] == SMALL.id
    assert told[many[0].id] == "5 $/h"
    assert len(told) == 2 + 8 + 1
    assert told["14 others"] == "dearer, or do not fit"


def test_when_nothing_fits_the_reasons_are_counted_and_the_nearest_name_is_told() -> None:
    choice = choose(SMALL, BIG, PLAIN, accelerator="H10O")

    assert choice.reason is Reason.NO_OFFERING_FITS
    assert choice.message == (
        "none of 3 offerings of shop-a, shop-b fits: ruled out 3 by accelerator; "
        "no accelerator H10O is offered, the nearest is H100"
    )


def test_a_launch_looks_at_what_matters_of_a_large_table() -> None:
    large = tuple(gpu(f"n{number:04d}", 1.0 + number, count=1 + number % 2) for number in range(3000))
    spec = PoolSpec.model_validate(
        {"nodes": 1, "provider": "shop-a", "accelerator": "H100:2", "allocation": "cheapest"}
    )
    shopping = shopping_of(spec.template())

    kept, left_out = relevant(shopping, large)

    assert len(kept) + left_out == 3000
    assert len(kept) < 300
    assert (
        choose_offering(shopping, ObservedMarket(kept), NOW).offering
        == choose_offering(shopping, ObservedMarket(large), NOW).offering
    )


# --- back to spot ----------------------------------------------------------------------------------------------------


def _standing_in(**spot: str) -> tuple[Any, Any]:
    fields = {
        "providers": ({"name": "shop-a"},),
        "allocation": "spot-if-available",
        "spot": {"return_after": "1h", **spot},
    }
    pool = make_pool(**fields)
    launched = make_condition(NodeCondition.LAUNCHED, reason=Reason.LAUNCHED, at=NOW - 4000)
    return pool, make_node(pool, launch="l", provider_id="i", conditions=(launched,), capacity_type="on-demand")


def test_a_node_that_stands_in_for_spot_is_due_after_a_while_and_gives_way_once_there_is_some() -> None:
    pool, node = _standing_in()
    market = ObservedMarket((DEMAND, CHEAP))

    assert return_due_at(node, pool) == NOW - 4000 + 3600
    assert spot_again(node, pool, market, NOW) == (
        "it is on demand for lack of spot machines, and shop-a/spot/spot is free again"
    )
    assert spot_again(node, pool, replace(market, cool_downs=(cool(CHEAP),)), NOW) == ""
    assert spot_again(node, pool, replace(market, offerings=(DEMAND,)), NOW) == ""
    assert spot_again(node, pool, replace(market, refusals=((CHEAP.id, NOW - 3599),)), NOW) == ""
    assert spot_again(node, pool, replace(market, refusals=((CHEAP.id, NOW - 3601),)), NOW) != ""


def test_a_node_that_belongs_on_demand_never_returns() -> None:
    pool, node = _standing_in()

    spot = pool.spec.spot
    kept = pool.replace(spec=pool.spec.replace(spot=spot.replace(base_on_demand=1)))
    never = pool.replace(spec=pool.spec.replace(spot=spot.replace(return_after="off")))

    assert return_due_at(node, kept) is None
    assert return_due_at(node, never) is None
    assert return_due_at(node.replace(status=node.status.replace(capacity_type="spot")), pool) is None
    assert return_due_at(node.replace(status=node.status.replace(conditions=())), pool) is None
