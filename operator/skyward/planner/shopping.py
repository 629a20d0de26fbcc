"""What a template asks of a machine: ways to get one, in tiers. Within a tier any of them will do, cheapest first; a later tier
counts only while those before it have nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf

from skyward.api import Json, Node, NodeCondition, OfferingSpec, Pool, ProviderSpec, Requirement, Status, find
from skyward.api.accelerators import AcceleratorRequest, parse_accelerator
from skyward.api.offerings import SPOT_FIRST
from skyward.api.quantities import OFF, parse_duration, resolve_share
from skyward.api.ranges import Range, parse_counts, parse_money, parse_sizes
from skyward.facts import ON_DEMAND, SPOT

ANY = "any"
"""Allocation where there is no choice: whatever capacity type the provider has."""
RESERVED = "reserved"
_GB = 1000**3
_FIELDS = ("providers", "accelerator", "resources", "instanceType", "requirements", "allocation")
"""What a template says for all of its ways to get a machine."""


@dataclass(frozen=True, slots=True)
class Want:
    """One way to get a machine."""

    places: tuple[ProviderSpec, ...]
    allocation: str = ANY
    accelerator: AcceleratorRequest | None = None
    instance_type: str | None = None
    cpu: Range | None = None
    memory_gb: Range | None = None
    disk_gb: Range | None = None
    requirements: tuple[Requirement, ...] = ()
    most_usd_per_hour: float = inf


@dataclass(frozen=True, slots=True)
class Shopping:
    tiers: tuple[tuple[Want, ...], ...]

    @staticmethod
    def at(places: Sequence[ProviderSpec]) -> Shopping:
        """Anything that these have."""
        return Shopping(((Want(tuple(places)),),))

    @property
    def wants(self) -> Iterator[Want]:
        return (want for tier in self.tiers for want in tier)

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(place.name for want in self.wants for place in want.places))


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one node now, beside what its template asks for: from the fields of its pool that change in place."""

    most_usd_per_hour: float = inf
    on_demand: bool = False
    """Its slot belongs to the share that is kept on demand."""
    fallback_after_s: float | None = None
    """As the pool says; None where that is for the allocation to say."""
    waits_since: float = inf
    """Since when it looks for a machine, seconds since 1970."""

    @staticmethod
    def of(pool: Pool, *, on_demand: bool, waits_since: float) -> Terms:
        spec, after = pool.spec, pool.spec.spot.fallback_after
        return Terms(
            most_usd_per_hour=inf if spec.max_hourly_cost is None else parse_money(spec.max_hourly_cost),
            on_demand=on_demand,
            fallback_after_s=None if after is None else inf if after == OFF else parse_duration(after),
            waits_since=waits_since,
        )

    def fallback_at(self, allocation: str) -> float:
        """From when on a machine on demand will do."""
        after_s = self.fallback_after_s
        if after_s is None:
            after_s = inf if allocation == SPOT else 0.0
        return -inf if after_s <= 0 else self.waits_since + after_s


def shopping_of(template: Json) -> Shopping:
    """What a node of this template is to be made on."""
    said = {name: template[name] for name in (*_FIELDS, "offerings") if name in template}
    return _parsed(json.dumps(said, sort_keys=True))


def terms_of(pool: Pool | None, node: Node, now: float, started_at: float = 0.0) -> Terms:
    """Its patience begins when its first look found nothing, and anew when its operator does."""
    launched = find(node.status.conditions, NodeCondition.LAUNCHED)
    waits = launched is not None and launched.status is Status.FALSE
    waits_since = max(launched.last_transition_time.timestamp(), started_at) if launched is not None and waits else now
    if pool is None:
        return Terms(waits_since=waits_since)
    base = resolve_share(pool.spec.spot.base_on_demand, pool.spec.nodes, round_up=True)
    return Terms.of(pool, on_demand=node.spec.slot < base, waits_since=waits_since)


def uses_spot_first(want: Want, terms: Terms) -> bool:
    return want.allocation in SPOT_FIRST and not terms.on_demand


def capacity_types(want: Want, terms: Terms, *, falls_back: bool) -> frozenset[str]:
    """What a node may be made on; `falls_back`: spot machines were looked for long enough."""
    if want.allocation == ANY:
        return frozenset({ON_DEMAND, SPOT, RESERVED})
    on_demand = frozenset({ON_DEMAND, RESERVED})
    if terms.on_demand or want.allocation == ON_DEMAND:
        return on_demand
    if uses_spot_first(want, terms):
        return on_demand if falls_back else frozenset({SPOT})
    return on_demand | {SPOT}


@lru_cache(maxsize=512)
def _parsed(said: str) -> Shopping:
    template: Json = json.loads(said)
    offerings = template.pop("offerings", None)
    if offerings is None:
        return Shopping(((_want(template),),) if template.get("providers") else ())
    ordered, any_of = offerings.get("ordered", ()), offerings.get("anyOf", ())
    entries = [_want(_inherited(entry, template)) for entry in ordered or any_of]
    return Shopping(tuple((want,) for want in entries) if ordered else (tuple(entries),))


def _inherited(entry: Json, template: Json) -> Json:
    """What the entry leaves out is its pool's; requirements of both hold."""
    merged = {**template, **entry}
    merged["resources"] = {**template.get("resources", {}), **entry.get("resources", {})}
    merged["requirements"] = [*template.get("requirements", ()), *entry.get("requirements", ())]
    return merged


def _want(said: Json) -> Want:
    spec = OfferingSpec.model_validate(said)
    places = tuple(spec.providers)
    resources = spec.resources
    return Want(
        places=places,
        allocation=spec.allocation or (ANY if all(place.name == "local" for place in places) else ON_DEMAND),
        accelerator=None if spec.accelerator is None else parse_accelerator(spec.accelerator),
        instance_type=spec.instance_type,
        cpu=None if resources.cpu is None else parse_counts(resources.cpu),
        memory_gb=None if resources.memory is None else _in_gb(parse_sizes(resources.memory)),
        disk_gb=None if resources.disk is None else _in_gb(parse_sizes(resources.disk)),
        requirements=spec.requirements,
        most_usd_per_hour=inf if spec.max_hourly_cost is None else parse_money(spec.max_hourly_cost),
    )


def _in_gb(size: Range) -> Range:
    return replace(size, least=size.least / _GB, most=None if size.most is None else size.most / _GB)
