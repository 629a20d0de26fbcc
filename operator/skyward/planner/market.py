"""Which offering a launch should ask for: the cheapest that is not cooling down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skyward.api import ProviderSpec, Reason
from skyward.facts import CoolDown, ObservedMarket, Offering


@dataclass(frozen=True, slots=True)
class OfferingChoice:
    """The offering to ask for, or why there is none now."""

    offering: Offering | None
    reason: Reason
    message: str
    retry_at: float | None = None
    """When a cool-down ends, if that is what hinders; seconds since 1970."""


def choose_offering(providers: Sequence[ProviderSpec], market: ObservedMarket, now: float) -> OfferingChoice:
    """The cheapest; among equals the one of the weightier provider, then of the provider named first, then by id."""
    order = {provider.name: (-provider.weight, place) for place, provider in reversed(list(enumerate(providers)))}
    candidates = [offering for offering in market.offerings if offering.provider in order]
    if not candidates:
        names = ", ".join(order)
        return OfferingChoice(None, Reason.PENDING, f"no offering of {names} is known yet")
    cooling = {cool.offering: cool for cool in market.cool_downs if cool.until > now}
    free = [offering for offering in candidates if offering.id not in cooling]
    if not free:
        return _all_cooling([cooling[offering.id] for offering in candidates])
    best = min(free, key=lambda offering: (offering.usd_per_hour, *order[offering.provider], offering.id))
    skipped = len(candidates) - len(free)
    left_out = f", {skipped} left out after a refusal" if skipped else ""
    return OfferingChoice(
        best,
        Reason.LAUNCHING,
        f"{best.id} at {best.usd_per_hour:g} $/h is the cheapest of {len(candidates)} offerings{left_out}",
    )


def _all_cooling(cool_downs: list[CoolDown]) -> OfferingChoice:
    first = min(cool_downs, key=lambda cool: (cool.until, cool.offering))
    what = first.offering if len(cool_downs) == 1 else f"all {len(cool_downs)} offerings"
    return OfferingChoice(
        None,
        first.reason,
        f"{what} refused lately: {first.message.rstrip('.')}; it is tried again by itself, or add another provider",
        first.until,
    )
