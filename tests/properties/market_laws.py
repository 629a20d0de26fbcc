"""Laws of shopping: over many random markets and wishes, what is chosen is what was asked for, the cheapest of it, and the same
whatever order things are in. What fits is judged here once more, in plain words, apart from the planner."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any

from skyward.api import Pool, Reason
from skyward.api.accelerators import normalize
from skyward.api.providers import plug_in
from skyward.facts import ON_DEMAND, SPOT, CoolDown, ObservedMarket, Offering, Supply, identify
from skyward.planner import Terms, choose_offering, relevant, shopping_of, terms_of
from tests.builders import NOW, make_node, make_pool

PROVIDERS = ("shop-a", "shop-b", "shop-c")
for _name in PROVIDERS:
    plug_in(_name)
_GPUS = (None, ("H100", 80), ("H100", 94), ("A100", 40), ("A100", 80), ("L4", 24), ("Gaudi HL-205", 32))
_WISHES = (None, None, None, None, None, None, "H100", "H100:8", "A100-80GB", "A100:8", "l4", "GAUDI HL-205")
_PRICES = (0.5, 1.0, 1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Case:
    pool: Pool
    slot: int
    terms: Terms
    market: ObservedMarket

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Every way to get a machine, what it leaves out filled in from the pool."""
        template = self.pool.spec.template()
        ways = template.get("offerings")
        if ways is None:
            return [template]
        return [
            {
                **template,
                **entry,
                "requirements": [*template.get("requirements", ()), *entry.get("requirements", ())],
                "resources": {**template.get("resources", {}), **entry.get("resources", {})},
            }
            for entry in ways.get("ordered") or ways.get("anyOf")
        ]

    @property
    def is_ordered(self) -> bool:
        return "ordered" in self.pool.spec.template().get("offerings", {})


def check_market(seed: int) -> None:
    case = _case(random.Random(seed))
    shopping = shopping_of(case.pool.spec.template())
    choice = choose_offering(shopping, case.market, NOW, case.terms)

    tiers = _oracle(case)
    free = next((tier for tier in tiers if tier), {})
    assert choice.message
    if choice.offering is None:
        assert not free, f"nothing was chosen of {sorted(free)}"
        assert choice.retry_at is None or choice.retry_at > NOW
        assert choice.reason is not Reason.LAUNCHING
    else:
        assert choice.offering.id in free, f"{choice.offering.id} is not what was asked for"
        _check_cheapest(choice.offering, free)
        assert choice.place is not None
        assert choice.place.covers(choice.offering.provider, choice.offering.region, choice.offering.zone)
        assert dict(choice.inputs)["offering"] == choice.offering.id
        assert len(choice.inputs) <= 11
    _check_order_and_size(case, choice.offering)


def check_share(seed: int) -> None:
    """Of any pool on spot, at least the share is on demand, and no more than that while spot machines are free."""
    chance = random.Random(seed)
    nodes, share = chance.randint(1, 40), chance.randint(0, 100)
    base = chance.choice((share, f"{share}%"))
    spot = {"base_on_demand": base}
    pool = make_pool(
        nodes=nodes, providers=({"name": "shop-a"},), allocation=chance.choice(("spot", "spot-if-available")), spot=spot
    )
    market = ObservedMarket(
        (Offering("shop-a", "d", usd_per_hour=3.0), Offering("shop-a", "s", capacity_type=SPOT, usd_per_hour=1.0))
    )
    shopping = shopping_of(pool.spec.template())

    taken = [
        choose_offering(shopping, market, NOW, terms_of(pool, make_node(pool, slot), NOW)).offering
        for slot in range(nodes)
    ]

    on_demand = sum(one is not None and one.capacity_type == ON_DEMAND for one in taken)
    assert None not in taken
    assert on_demand == min(nodes, ceil(nodes * share / 100) if isinstance(base, str) else share)


def _check_cheapest(chosen: Offering, free: dict[str, tuple[Offering, bool]]) -> None:
    stands_in = free[chosen.id][1]
    assert not stands_in or all(other for _, other in free.values()), "spot comes first"
    cheaper = [
        name for name, (one, other) in free.items() if other is stands_in and one.usd_per_hour < chosen.usd_per_hour
    ]
    assert not cheaper, f"{cheaper} cost less"


def _check_order_and_size(case: Case, chosen: Offering | None) -> None:
    shopping = shopping_of(case.pool.spec.template())
    shuffled = list(case.market.offerings)
    random.Random(1).shuffle(shuffled)
    cools = tuple(reversed(case.market.cool_downs))
    again = choose_offering(
        shopping, replace(case.market, offerings=tuple(shuffled), cool_downs=cools), NOW, case.terms
    )
    assert again.offering == chosen, "the order of the market carries no meaning"
    kept, left_out = relevant(shopping, case.market.offerings)
    assert len(kept) + left_out == len(case.market.offerings)
    smaller = choose_offering(shopping, replace(case.market, offerings=kept, unlisted=left_out), NOW, case.terms)
    assert smaller.offering == chosen, "what is left out does not matter"


# --- the oracle ------------------------------------------------------------------------------------------------------


def _oracle(case: Case) -> list[dict[str, tuple[Offering, bool]]]:
    """By tier: what may be taken now, and whether it only stands in for spot."""
    tiers: list[dict[str, tuple[Offering, bool]]] = [{}]
    for number, entry in enumerate(case.entries):
        if case.is_ordered and number:
            tiers.append({})
        for one in case.market.offerings:
            stands_in = _capacity(one, entry, case.terms)
            if stands_in is not None and _fits(one, entry, case.terms) and _is_free(one, case.market):
                old = tiers[-1].get(one.id)
                tiers[-1][one.id] = (one, stands_in and (old is None or old[1]))
    return tiers


def _is_free(one: Offering, market: ObservedMarket) -> bool:
    cooling = {cool.offering for cool in market.cool_downs if cool.until > NOW}
    return one.supply is not Supply.NONE and not cooling & {one.id, one.provider}


def _capacity(one: Offering, entry: dict[str, Any], terms: Terms) -> bool | None:
    """None: not of a capacity type that will do now."""
    allocation = entry.get("allocation", "on-demand")
    if terms.on_demand or allocation == "on-demand":
        return None if one.capacity_type == SPOT else False
    if allocation == "cheapest" or one.capacity_type == SPOT:
        return False
    after_s = terms.fallback_after_s
    if after_s is None:
        after_s = inf if allocation == "spot" else 0.0
    return True if after_s == 0 or terms.waits_since + after_s <= NOW else None


def _fits(one: Offering, entry: dict[str, Any], terms: Terms) -> bool:
    places = [
        place
        for place in entry["providers"]
        if place["name"] == one.provider and place.get("region", one.region) == one.region
    ]
    if not places or one.usd_per_hour > min(terms.most_usd_per_hour, float(entry.get("maxHourlyCost", inf))):
        return False
    if "accelerator" in entry and not _has(one, entry["accelerator"]):
        return False
    cpu = entry.get("resources", {}).get("cpu")
    if cpu is not None and (one.vcpus is None or one.vcpus < float(cpu.rstrip("+"))):
        return False
    return all(_meets(one, requirement) for requirement in entry.get("requirements", ()))


def _has(one: Offering, wish: str) -> bool:
    name, _, count = wish.partition(":")
    family, _, memory = name.partition("-")
    if one.accelerator is None or one.accelerator.count != int(count or 1):
        return False
    asked = normalize(name if "GB" not in memory else family).family
    return one.accelerator.name == asked and ("GB" not in memory or one.accelerator.memory_gb == float(memory[:-2]))


def _meets(one: Offering, requirement: dict[str, Any]) -> bool:
    operator, values = requirement["operator"], requirement.get("values", ())
    if requirement["key"] == "region":
        return (one.region in values) is (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return (one.accelerator is not None) is (operator == "Exists")
    assert one.vcpus is None or operator in ("Gt", "Lt")
    if one.vcpus is None:
        return False
    return one.vcpus > float(values[0]) if operator == "Gt" else one.vcpus < float(values[0])


# --- worlds ----------------------------------------------------------------------------------------------------------


def _case(chance: random.Random) -> Case:
    pool = make_pool(nodes=chance.randint(1, 5), **_wishes(chance))
    terms = Terms(
        most_usd_per_hour=chance.choice((inf, inf, 2.0)),
        on_demand=chance.random() < 0.2,
        fallback_after_s=chance.choice((None, None, 0.0, 600.0, inf)),
        waits_since=NOW - chance.choice((0.0, 300.0, 600.0, 900.0)),
    )
    offerings = tuple({one.id: one for one in (_offering(chance) for _ in range(chance.randint(0, 25)))}.values())
    names = [*(one.id for one in offerings), *PROVIDERS[:1]]
    cooled = [name for name in names if chance.random() < 0.2]
    cools = tuple(CoolDown(name, NOW + chance.choice((-5.0, 60.0)), "no") for name in cooled)
    return Case(pool, 0, terms, ObservedMarket(offerings, cools))


def _wishes(chance: random.Random) -> dict[str, Any]:
    fields = _way(chance)
    if chance.random() < 0.5:
        return {**fields, "providers": _places(chance)}
    ways = tuple({**_way(chance), "providers": _places(chance)} for _ in range(chance.randint(1, 3)))
    return {**fields, "offerings": {chance.choice(("ordered", "any_of")): ways}}


def _places(chance: random.Random) -> tuple[dict[str, Any], ...]:
    names = chance.sample(PROVIDERS, chance.randint(1, 3))
    return tuple({"name": name, **({"region": "eu"} if chance.random() < 0.3 else {})} for name in names)


def _way(chance: random.Random) -> dict[str, Any]:
    wish = chance.choice(_WISHES)
    allocation = chance.choice((None, "spot", "on-demand", "spot-if-available", "cheapest"))
    requirements = (
        {"key": "region", "operator": chance.choice(("In", "NotIn")), "values": ("eu",)},
        {"key": "cpu", "operator": chance.choice(("Gt", "Lt")), "values": ("8",)},
        {"key": "gpu-name", "operator": chance.choice(("Exists", "DoesNotExist"))},
    )
    said = {
        "accelerator": wish,
        "allocation": allocation,
        "resources": {"cpu": chance.choice(("4", "16+"))} if chance.random() < 0.2 else None,
        "requirements": tuple(one for one in requirements if chance.random() < 0.1) or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _offering(chance: random.Random) -> Offering:
    gpu = chance.choice(_GPUS)
    return Offering(
        chance.choice(PROVIDERS),
        f"t{chance.randint(0, 30)}",
        chance.choice(("eu", "us")),
        capacity_type=chance.choice((ON_DEMAND, SPOT)),
        usd_per_hour=chance.choice(_PRICES),
        accelerator=identify(gpu[0], chance.choice((1, 1, 8)), gpu[1]) if gpu else None,
        vcpus=chance.choice((None, 4.0, 8.0, 32.0)),
        supply=chance.choice((Supply.UNKNOWN, Supply.UNKNOWN, Supply.AVAILABLE, Supply.NONE)),
    )
