"""Which offering a launch should ask for: the cheapest that fits and was not refused lately, of the first tier that has one."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from skyward.api import ProviderSpec, Reason
from skyward.facts import CoolDown, Inputs, ObservedMarket, Offering
from skyward.planner.fitting import ACCELERATOR
from skyward.planner.shopping import Shopping, Terms, uses_spot_first
from skyward.planner.sifting import Candidate, Sifted, sift, told

NEEDS_A_HUMAN = (Reason.BALANCE_EXHAUSTED, Reason.CREDENTIALS_REJECTED, Reason.REQUEST_REJECTED, Reason.QUOTA_EXCEEDED)
"""Refusals that last until somebody pays, asks for more or corrects something."""
SOON_S, RARELY_S = 5.0, 60.0
_TOLD = 8
"""So many of the offerings that were not chosen are named."""
_NO_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class OfferingChoice:
    """The offering to ask for, or why there is none now."""

    offering: Offering | None
    reason: Reason
    message: str
    retry_at: float | None = None
    """When a cool-down ends or a fallback begins, if that is what hinders; seconds since 1970."""
    inputs: Inputs = ()
    """What the others were left out for, by offering."""
    place: ProviderSpec | None = None
    """The entry of the manifest by which it was found."""
    look_again_s: float = SOON_S
    """When to look for other offerings, where no time to try again is known."""


def choose_offering(shopping: Shopping, market: ObservedMarket, now: float, terms: Terms = _NO_TERMS) -> OfferingChoice:
    """The cheapest; among equals the one of the weightier provider, then of the provider named first, then by id. Spot machines
    come before those on demand that only stand in for them."""
    providers = shopping.providers
    known = [offering for offering in market.offerings if offering.provider in providers]
    if not known:
        return OfferingChoice(None, Reason.PENDING, f"no offering of {', '.join(providers)} is known yet")
    sifted = sift(shopping, known, market.cool_downs, terms, now)
    for number, tier in enumerate(sifted.tiers):
        free = [one for one in tier if one.is_free and one.is_allowed(terms, now)]
        if free:
            best = min(free, key=lambda one: (one.is_fallback(terms), one.rank))
            return _chosen(best, sifted, market.unlisted, number, terms)
    if not sifted.candidates:
        return _nothing_fits(shopping, sifted, market.unlisted)
    return _none_free(shopping, sifted.candidates, terms, now)


# --- what is said ----------------------------------------------------------------------------------------------------


def _chosen(best: Candidate, sifted: Sifted, unlisted: int, tier: int, terms: Terms) -> OfferingChoice:
    candidates, one = sifted.candidates, best.offering
    shunned = sum(found.cool is not None and found.cool.reason is Reason.HOST_SHUNNED for found in candidates)
    refused = sum(found.cool is not None for found in candidates) - shunned
    is_sifted = bool(sifted.misfits or unlisted or tier or best.is_fallback(terms))
    said = (
        f"{one.id} at {one.usd_per_hour:g} $/h is {_rank(len(candidates), is_sifted)}",
        "on demand as no spot machine is free" if best.is_fallback(terms) else "",
        f"entry {tier + 1} of offerings.ordered as those before it have none free" if tier else "",
        f"{refused} left out after a refusal" if refused else "",
        f"{shunned} left out because of their hosts" if shunned else "",
    )
    return OfferingChoice(
        one,
        Reason.LAUNCHING,
        ", ".join(filter(None, said)),
        inputs=_left_out(best, sifted, unlisted),
        place=best.place,
    )


def _rank(offerings: int, is_sifted: bool) -> str:
    if offerings == 1:
        return "the only offering that fits" if is_sifted else "the only offering"
    return f"chosen of {offerings} that fit" if is_sifted else f"the cheapest of {offerings} offerings"


def _left_out(best: Candidate, sifted: Sifted, unlisted: int) -> Inputs:
    """Those that fit first, the nearest in price before others."""
    others = sorted((one for one in sifted.candidates if one.offering is not best.offering), key=lambda one: one.rank)
    said = {one.offering.id: one.hindrance or f"{one.offering.usd_per_hour:g} $/h" for one in others}
    said |= {one.id: why for one, (_, why) in sifted.misfits if one.id not in said}
    more = len(said) + unlisted - _TOLD
    rest = ((f"{more} others", "dearer, or do not fit"),) if more > 0 else ()
    chosen = ("offering", best.offering.id), ("usd_per_hour", best.offering.usd_per_hour)
    return *chosen, *tuple(said.items())[:_TOLD], *rest


def _nothing_fits(shopping: Shopping, sifted: Sifted, unlisted: int) -> OfferingChoice:
    """Counted by what is wrong, and the likeliest slip named."""
    counted = Counter(kind for _, (kind, _) in sifted.misfits)
    kinds = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    ruled_out = ", ".join(f"{count} by {kind}" for kind, count in kinds)
    if unlisted:
        ruled_out = f"most by {kinds[0][0]}"
    all_of_them = len(sifted.misfits) + unlisted
    message = f"none of {all_of_them} offerings of {', '.join(shopping.providers)} fits: ruled out {ruled_out}"
    return OfferingChoice(None, Reason.NO_OFFERING_FITS, message + _slip(shopping, sifted), look_again_s=RARELY_S)


def _slip(shopping: Shopping, sifted: Sifted) -> str:
    """An accelerator that is asked for and that nobody lists, and the nearest name that is."""
    wanted = {want.accelerator.name.family for want in shopping.wants if want.accelerator is not None}
    ruled_out = [one.accelerator for one, (kind, _) in sifted.misfits if kind == ACCELERATOR]
    listed = sorted({accelerator.name for accelerator in ruled_out if accelerator is not None})
    said = []
    for name in sorted(wanted - set(listed)):
        near = difflib.get_close_matches(name, listed, n=1, cutoff=0.5)
        others = f"listed are {', '.join(listed[:_TOLD])}" if listed else "none is listed"
        said.append(f"; no accelerator {name} is offered, {f'the nearest is {near[0]}' if near else others}")
    return "".join(said)


def _none_free(shopping: Shopping, candidates: Sequence[Candidate], terms: Terms, now: float) -> OfferingChoice:
    cools = [one.cool for one in candidates if one.cool is not None]
    if len(cools) == len(candidates) and all(one.is_allowed(terms, now) for one in candidates):
        return _all_cooling(cools)
    later = {one.fallback_at(terms) for one in candidates if not one.is_allowed(terms, now)}
    retry_at = min((*(cool.until for cool in cools), *(at for at in later if at < inf)), default=None)
    what = "spot machine" if any(uses_spot_first(one.want, terms) for one in candidates) else "machine"
    why = f" ({told(min(cools, key=_weight)).rstrip('.')})" if cools else ""
    then = "one on demand is taken once spot.fallbackAfter has passed" if later else "it is tried again by itself"
    message = f"no {what} that fits is free at {', '.join(shopping.providers)}{why}; {then}"
    return OfferingChoice(None, Reason.INSUFFICIENT_CAPACITY, message, retry_at, look_again_s=RARELY_S)


def _all_cooling(cool_downs: Sequence[CoolDown]) -> OfferingChoice:
    retry_at = min(cool.until for cool in cool_downs)
    cool = min(cool_downs, key=_weight)
    names = sorted({cool.offering for cool in cool_downs})
    what = names[0] if len(names) == 1 else f"all {len(cool_downs)} offerings"
    message = f"{what} {told(cool).rstrip('.')}; it is tried again by itself, or add another provider"
    return OfferingChoice(None, cool.reason, message, retry_at)


def _weight(cool: CoolDown) -> tuple[bool, float, str]:
    """Told is the refusal that may pass by itself, if there is one: only without it a human must act."""
    return cool.reason in NEEDS_A_HUMAN, cool.until, cool.offering
