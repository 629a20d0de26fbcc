"""What this operator may do in the world: it leads, and its records are the newest there are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from skyward.contracts import Driver
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.controllers.trust import Trust
from skyward.kit.guarded import GuardedDriver
from skyward.kit.steady import steady


def guarded(deps: Deps, launches: LaunchBook) -> Deps:
    """The same, with drivers that act only while this operator may, listings that are judged by its records, and a clock
    that does not jump."""
    deps.listings.judge_by(Trust(deps, launches).judge)
    drivers = {name: _guard(deps, launches, name, driver) for name, driver in deps.drivers.items()}
    return replace(deps, drivers=drivers, clock=steady(deps.clock))


def hindrance(deps: Deps, provider: str) -> str:
    """Why nothing may be made or deleted at this provider now; empty when it may."""
    doubt = deps.listings.doubt(provider)
    if doubt is not None:
        return str(doubt)
    return "" if deps.listings.newest(provider) is not None else f"there was no complete listing of {provider} yet"


def _guard(deps: Deps, launches: LaunchBook, name: str, driver: Driver) -> GuardedDriver:
    def is_ours(instance_id: str) -> bool:
        return deps.listings.instance(name, instance_id) is not None or launches.has_made(name, instance_id)

    return GuardedDriver(
        driver,
        confirm=deps.leadership.confirm if deps.leadership is not None else _nobody_else_leads,
        hindrance=partial(hindrance, deps, name),
        is_ours=is_ours,
    )


async def _nobody_else_leads() -> None:
    return None
