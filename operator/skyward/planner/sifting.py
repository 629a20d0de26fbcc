"""Which of all offerings a pool could take, by which of its entries, and why not the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf

from skyward.api import ProviderSpec, Reason
from skyward.facts import SPOT, CoolDown, Offering, Supply
from skyward.planner.fitting import misfit
from skyward.planner.shopping import Shopping, Terms, Want, capacity_types, uses_spot_first

KEPT = 100
"""So many that fit, of each tier and capacity type, are looked at by each launch: the rest is dearer than all of them."""
STRANGERS = 8
"""So many that do not fit are named."""
_DEAR, _CAPACITY_TYPE = "price", "capacity type"
Wrong = tuple[str, str]
"""What is wrong with an offering: in one word, and in a sentence."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offering that fits, and by which entry."""

    offering: Offering
    want: Want
    place: ProviderSpec
    order: int
    """The entry's place among its siblings."""
    cool: CoolDown | None

    @property
    def rank(self) -> tuple[float, int, int, str]:
        return self.offering.usd_per_hour, -self.place.weight, self.order, self.offering.id

    @property
    def is_free(self) -> bool:
        return self.cool is None and self.offering.supply is not Supply.NONE

    @property
    def hindrance(self) -> str:
        """Why it cannot be had now; empty when it can."""
        if self.cool is not None:
            return told(self.cool)
        return "its provider has none now" if self.offering.supply is Supply.NONE else ""

    def is_fallback(self, terms: Terms) -> bool:
        return uses_spot_first(self.want, terms) and self.offering.capacity_type != SPOT

    def fallback_at(self, terms: Terms) -> float:
        """From when on it will do; at any time, unless it only stands in."""
        return terms.fallback_at(self.want.allocation) if self.is_fallback(terms) else -inf

    def is_allowed(self, terms: Terms, now: float) -> bool:
        return self.fallback_at(terms) <= now


@dataclass(frozen=True, slots=True)
class Sifted:
    tiers: tuple[tuple[Candidate, ...], ...]
    misfits: tuple[tuple[Offering, Wrong], ...]
    """Those that no tier takes, cheapest first."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(candidate for tier in self.tiers for candidate in tier)


def sift(
    shopping: Shopping, offerings: Iterable[Offering], cool_downs: Iterable[CoolDown], terms: Terms, now: float
) -> Sifted:
    """Whatever capacity type patience may make good is let through: `is_allowed` says whether it is good by now."""
    known = tuple(offerings)
    cooling = {cool.offering: cool for cool in cool_downs if cool.until > now}
    wrong: dict[str, tuple[Offering, Wrong]] = {}
    tiers = []
    for tier in shopping.tiers:
        found = []
        for offering in known:
            candidate = _candidate(offering, tier, cooling, terms)
            if isinstance(candidate, Candidate):
                found.append(candidate)
            else:
                wrong.setdefault(offering.id, (offering, candidate))
        tiers.append(tuple(found))
    fitting = {candidate.offering.id for tier in tiers for candidate in tier}
    misfits = (pair for name, pair in wrong.items() if name not in fitting)
    return Sifted(tuple(tiers), tuple(sorted(misfits, key=lambda pair: (pair[0].usd_per_hour, pair[0].id))))


def relevant(shopping: Shopping, offerings: Sequence[Offering]) -> tuple[tuple[Offering, ...], int]:
    """What a launch of this template has to look at, in place of everything, and how many were left out: those that fit in one
    way or another, and the cheapest of the others, that something is told of them."""
    sifted = sift(shopping, offerings, (), Terms(fallback_after_s=0.0), 0.0)
    either = sift(shopping, offerings, (), Terms(on_demand=True), 0.0)
    kept: dict[str, Offering] = {}
    for tier in (*sifted.tiers, *either.tiers):
        ordered = sorted(tier, key=lambda one: (one.offering.capacity_type, one.rank))
        for _, group in groupby(ordered, key=lambda one: one.offering.capacity_type):
            kept.update({one.offering.id: one.offering for one in tuple(group)[:KEPT]})
    names = sorted({one.accelerator.name for one in offerings if one.accelerator is not None})
    for offering in (*(one for one, _ in sifted.misfits[:STRANGERS]), *_examples(sifted, names)):
        kept.setdefault(offering.id, offering)
    return tuple(kept.values()), len({one.id for one in offerings}) - len(kept)


def _examples(sifted: Sifted, names: Sequence[str]) -> Iterable[Offering]:
    """One for each accelerator: what is listed is told when the one that is asked for is not."""
    if sifted.candidates:
        return
    for name in names:
        yield from [one for one, _ in sifted.misfits if one.accelerator is not None and one.accelerator.name == name][
            :1
        ]


def accepts(shopping: Shopping, terms: Terms, offering: Offering, now: float) -> bool:
    """Whether a node with these terms may be made on this offering, which another one has chosen."""
    sifted = sift(shopping, (offering,), (), terms, now)
    return any(candidate.is_allowed(terms, now) for candidate in sifted.candidates)


def told(cool: CoolDown) -> str:
    return f"{'shunned' if cool.reason is Reason.HOST_SHUNNED else 'refused lately'}: {cool.message}"


def _candidate(
    offering: Offering, tier: Sequence[Want], cooling: dict[str, CoolDown], terms: Terms
) -> Candidate | Wrong:
    """By the want that takes it soonest, of equal ones the first; else why the first does not."""
    wrong: Wrong | None = None
    ways = []
    for want in tier:
        found = misfit(offering, want) or _unaffordable(offering, want, terms) or _mistaken(offering, want, terms)
        if found is None:
            ways.append(Candidate(offering, want, *_place(offering, want), _cool(offering, cooling)))
        wrong = wrong or found
    if ways:
        return min(ways, key=lambda way: (way.is_fallback(terms), way.fallback_at(terms)))
    return wrong or ("place", "is in another place")


def _place(offering: Offering, want: Want) -> tuple[ProviderSpec, int]:
    """The weightiest entry that covers it, of equal ones the first."""
    covering = (
        (order, place)
        for order, place in enumerate(want.places)
        if place.covers(offering.provider, offering.region, offering.zone)
    )
    order, place = min(covering, key=lambda pair: (-pair[1].weight, pair[0]))
    return place, order


def _unaffordable(offering: Offering, want: Want, terms: Terms) -> Wrong | None:
    most = min(want.most_usd_per_hour, terms.most_usd_per_hour)
    if offering.usd_per_hour <= most:
        return None
    return _DEAR, f"costs {offering.usd_per_hour:g} $/h, above maxHourlyCost of {most:g}"


def _mistaken(offering: Offering, want: Want, terms: Terms) -> Wrong | None:
    """No patience makes this capacity type one that will do."""
    possible = capacity_types(want, terms, falls_back=False)
    if uses_spot_first(want, terms) and terms.fallback_at(want.allocation) < inf:
        possible |= capacity_types(want, terms, falls_back=True)
    return None if offering.capacity_type in possible else (_CAPACITY_TYPE, f"is {offering.capacity_type}")


def _cool(offering: Offering, cooling: dict[str, CoolDown]) -> CoolDown | None:
    """What keeps this offering from being asked for, the longest if several do."""
    cools = (cooling.get(offering.id), cooling.get(offering.provider))
    return max((cool for cool in cools if cool is not None), key=lambda cool: cool.until, default=None)
