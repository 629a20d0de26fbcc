"""The table of offerings over HTTP: everything that the drivers sell, or what of it a pool, or a manifest, would be made on.

Reading is all it does: nothing is reserved, and what is free may be gone when a launch asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aiohttp import web

from skyward.api import API_VERSION, Json, Pool, ProviderSpec, driver_options, places_of, to_time
from skyward.api.quantities import resolve_share
from skyward.apiserver.asking import read_object
from skyward.apiserver.reads import find
from skyward.apiserver.refusals import not_allowed
from skyward.apiserver.resources import Resource
from skyward.apiserver.writing import answer
from skyward.contracts import Clock
from skyward.documents.checking import check
from skyward.errors import Invalid, ProviderError
from skyward.facts import CoolDown, Offering
from skyward.kit.catalog import Answer, Catalog
from skyward.planner import Shopping, Terms, shopping_of, sift
from skyward.planner.sifting import Candidate

KIND = "OfferingList"
_ROWS = 1000
_READ_S = 25.0
"""Clients wait for half a minute."""


@dataclass(frozen=True, slots=True)
class _Row:
    offering: Offering
    entry: int
    """Position of the entry of `offerings.ordered` that takes it; of what none takes, behind all."""
    fits: bool
    why: str
    """Why it cannot be had, or does not fit."""
    stands_in: bool = False
    """On demand, where spot machines come first."""

    @property
    def rank(self) -> tuple[int, bool, float, str]:
        return self.entry, self.stands_in, self.offering.usd_per_hour, self.offering.id


class Offers:
    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock

    async def of_pool(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        pool = await find(resource, request)
        if not isinstance(pool, Pool):
            raise not_allowed()
        return answer(await self._for(pool))

    async def of_manifest(self, request: web.Request) -> web.StreamResponse:
        checked = check(await read_object(request))
        if checked.pool is None:
            raise Invalid(
                str(checked.causes[0].message), tuple((cause.field, cause.message) for cause in checked.causes)
            )
        return answer(await self._for(checked.pool))

    async def everything(self, _: web.Request) -> web.StreamResponse:
        """Of every driver, with no options of its own."""
        asked = {(name, ""): (name, Json()) for name in self._catalog.providers}
        return answer(
            await self._table(asked, Shopping.at([ProviderSpec(name=name) for name in self._catalog.providers]))
        )

    async def _for(self, pool: Pool) -> Json:
        template, spec = pool.spec.template(), pool.spec
        asked = {
            (entry["name"], str(driver_options(entry))): (entry["name"], driver_options(entry))
            for entry in places_of(template)
        }
        base = resolve_share(spec.spot.base_on_demand, spec.nodes, round_up=True)
        terms = Terms.of(pool, on_demand=0 < spec.nodes <= base, waits_since=0.0)
        return await self._table(asked, shopping_of(template), terms)

    async def _table(
        self, asked: Mapping[tuple[str, str], tuple[str, Json]], shopping: Shopping, terms: Terms | None = None
    ) -> Json:
        answers: dict[tuple[str, str], Answer | str] = {}

        async def ask(key: tuple[str, str], provider: str, options: Json) -> None:
            answers[key] = await self._ask(provider, options)

        async with asyncio.TaskGroup() as group:
            for key, (provider, options) in asked.items():
                group.create_task(ask(key, provider, options))
        found = {key: one for key, one in answers.items() if not isinstance(one, str)}
        ages = {offering.id: one.read_at for one in found.values() for offering in one.value}
        cools = self._catalog.cool_downs.current(self._clock.now())
        distinct = {offering: None for one in found.values() for offering in one.value}
        rows = sorted(self._rows(shopping, distinct, cools, terms or Terms()), key=lambda row: row.rank)
        problems = {key[0]: one if isinstance(one, str) else one.problem for key, one in sorted(answers.items())}
        until = {cool.offering: cool.until for cool in cools}
        return {
            "kind": KIND,
            "apiVersion": API_VERSION,
            "items": [_item(row, ages[row.offering.id], until) for row in rows[:_ROWS]],
            "remaining": max(len(rows) - _ROWS, 0),
            "problems": [{"provider": name, "message": why} for name, why in problems.items() if why],
        }

    async def _ask(self, provider: str, options: Json) -> Answer | str:
        """Why there is none, where there is none."""
        aged = self._catalog.answer(provider, options)
        if aged is None:
            return f"this operator has no driver {provider} open"
        try:
            async with asyncio.timeout(_READ_S):
                return await aged.get()
        except (ProviderError, TimeoutError) as error:
            return str(error) or f"{provider} did not say in time what it offers"

    def _rows(
        self, shopping: Shopping, offerings: Iterable[Offering], cools: tuple[CoolDown, ...], terms: Terms
    ) -> Iterator[_Row]:
        now = self._clock.now()
        sifted = sift(shopping, offerings, cools, terms, now)
        told: set[str] = set()
        for entry, tier in enumerate(sifted.tiers):
            for one in tier:
                if one.offering.id not in told:
                    told.add(one.offering.id)
                    yield _Row(one.offering, entry, True, _why(one, terms), one.is_fallback(terms))
        for offering, (_, why) in sifted.misfits:
            yield _Row(offering, len(sifted.tiers), False, why)


def _why(candidate: Candidate, terms: Terms) -> str:
    if candidate.hindrance:
        return candidate.hindrance
    return "when no spot machine is free" if candidate.is_fallback(terms) else ""


def _item(row: _Row, read_at: float, until: Mapping[str, float]) -> Json:
    one = row.offering
    cooling = max(until.get(one.id, 0.0), until.get(one.provider, 0.0))
    said: Json = {
        "id": one.id,
        "provider": one.provider,
        "type": one.name,
        "region": one.region,
        "zone": one.zone,
        "hostId": one.host_id,
        "capacityType": one.capacity_type,
        "hourlyCost": f"{one.usd_per_hour:g}",
        "cpu": one.vcpus,
        "memoryGB": one.memory_gb,
        "diskGB": one.disk_gb,
        "arch": one.arch,
        "supply": str(one.supply),
        "note": one.note,
        "fits": row.fits,
        "why": row.why,
        "readAt": _stamp(read_at),
        "pricedAt": _stamp(one.priced_at or read_at),
        "coolingUntil": _stamp(cooling) if cooling else "",
    }
    if one.accelerator is not None:
        said |= {
            "accelerator": one.accelerator.label,
            "acceleratorForm": one.accelerator.form,
            "acceleratorKnown": one.accelerator.is_known,
        }
    return {name: value for name, value in said.items() if value not in ("", None)}


def _stamp(at: float) -> str:
    return to_time(at).isoformat().replace("+00:00", "Z")
