"""Which offering a launch should ask for: the cheapest that is not cooling down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skyward.api import ProviderSpec, Reason
from skyward.facts import CoolDown, Inputs, ObservedMarket, Offering

NEEDS_A_HUMAN = (Reason.BALANCE_EXHAUSTED, Reason.CREDENTIALS_REJECTED, Reason.REQUEST_REJECTED, Reason.QUOTA_EXCEEDED)
"""Refusals that last until somebody pays, asks for more or corrects something."""
_TOLD = 8
"""So many of the offerings that were not chosen are named."""


@dataclass(frozen=True, slots=True)
class OfferingChoice:
    """The offering to ask for, or why there is none now."""

    offering: Offering | None
    reason: Reason
    message: str
    retry_at: float | None = None
    """When a cool-down ends, if that is what hinders; seconds since 1970."""
    inputs: Inputs = ()
    """What the others were left out for, by offering."""


def choose_offering(providers: Sequence[ProviderSpec], market: ObservedMarket, now: float) -> OfferingChoice:
    """The cheapest; among equals the one of the weightier provider, then of the provider named first, then by id."""
    order = {provider.name: (-provider.weight, place) for place, provider in reversed(list(enumerate(providers)))}
    candidates = [offering for offering in market.offerings if offering.provider in order]
    if not candidates:
        names = ", ".join(order)
        return OfferingChoice(None, Reason.PENDING, f"no offering of {names} is known yet")
    cooling = {cool.offering: cool for cool in market.cool_downs if cool.until > now}
    hindrances = [_hindrance(offering, cooling) for offering in candidates]
    free = [offering for offering, cool in zip(candidates, hindrances, strict=True) if cool is None]
    if not free:
        return _all_cooling([cool for cool in hindrances if cool is not None])
    best = min(free, key=lambda offering: (offering.usd_per_hour, *order[offering.provider], offering.id))
    shunned = sum(cool is not None and cool.reason is Reason.HOST_SHUNNED for cool in hindrances)
    refused = len(candidates) - len(free) - shunned
    left_out = f", {refused} left out after a refusal" if refused else ""
    left_out += f", {shunned} left out because of their hosts" if shunned else ""
    return OfferingChoice(
        best,
        Reason.LAUNCHING,
        f"{best.id} at {best.usd_per_hour:g} $/h is {_rank(len(candidates))}{left_out}",
        inputs=_left_out(best, candidates, hindrances),
    )


def _rank(offerings: int) -> str:
    return "the only offering" if offerings == 1 else f"the cheapest of {offerings} offerings"


def _left_out(best: Offering, candidates: Sequence[Offering], hindrances: Sequence[CoolDown | None]) -> Inputs:
    """The nearest in price first."""
    others = sorted(
        (
            (offering.usd_per_hour, offering.id, cool)
            for offering, cool in zip(candidates, hindrances, strict=True)
            if offering is not best
        ),
        key=lambda other: other[:2],
    )
    chosen = ("offering", best.id), ("usd_per_hour", best.usd_per_hour)
    return (
        *chosen,
        *((name, _said(cool) if cool is not None else f"{price:g} $/h") for price, name, cool in others[:_TOLD]),
    )


def _said(cool: CoolDown) -> str:
    return f"{'shunned' if cool.reason is Reason.HOST_SHUNNED else 'refused lately'}: {cool.message}"


def _hindrance(offering: Offering, cooling: dict[str, CoolDown]) -> CoolDown | None:
    """What keeps this offering from being asked for, the longest if several do."""
    cools = (cooling.get(offering.id), cooling.get(offering.provider))
    return max((cool for cool in cools if cool is not None), key=lambda cool: cool.until, default=None)


def _all_cooling(cool_downs: list[CoolDown]) -> OfferingChoice:
    """Told is the refusal that may pass by itself, if there is one: only without it a human must act."""
    retry_at = min(cool.until for cool in cool_downs)
    told = min(cool_downs, key=lambda cool: (cool.reason in NEEDS_A_HUMAN, cool.until, cool.offering))
    names = sorted({cool.offering for cool in cool_downs})
    what = names[0] if len(names) == 1 else f"all {len(cool_downs)} offerings"
    message = f"{what} {_said(told).rstrip('.')}; it is tried again by itself, or add another provider"
    return OfferingChoice(None, told.reason, message, retry_at)
