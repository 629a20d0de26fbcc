"""What could be launched: one table of all drivers' offerings, with its age, and the ones to leave alone for now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial

from skyward.api import Json, Reason
from skyward.contracts import Clock, Driver
from skyward.errors import ProviderError
from skyward.facts import CoolDown, Offering
from skyward.kit.aged import Aged, Reading
from skyward.kit.calls import Calls
from skyward.kit.controller import After

_KEPT_S = 60.0
"""A driver is asked at most so often for the same options; what changes more rarely it keeps itself."""
_USABLE_S = 3600.0
"""While it cannot say, its last answer counts for so long: the create call tells what of it is still true."""
_DEADLINE_S = 30.0
_KEYS = 2000
PATIENCE_S = 5.0
"""A launch waits so long for one provider's answer; then it does without."""

Answer = Reading[tuple[Offering, ...]]


class CoolDowns:
    """What was refused lately, and why; of all pools. In memory: a restart may try each once more."""

    def __init__(self) -> None:
        self._by_name: dict[str, CoolDown] = {}
        self._refused_at: dict[str, float] = {}
        self.count = 0
        """Of all refusals so far."""

    def add(self, name: str, until: float, message: str, reason: Reason, *, now: float) -> None:
        """Leave this offering (by id), or all of this provider, alone until then, seconds since 1970. An earlier end never
        shortens a later one."""
        self.count += 1
        self._refused_at.pop(name, None)
        self._refused_at[name] = now
        while len(self._refused_at) > _KEYS:
            del self._refused_at[next(iter(self._refused_at))]
        old = self._by_name.get(name)
        if old is None or old.until < until:
            self._by_name[name] = CoolDown(name, until, message, reason)

    def current(self, now: float) -> tuple[CoolDown, ...]:
        self._by_name = {name: cool for name, cool in self._by_name.items() if cool.until > now}
        return tuple(self._by_name.values())

    @property
    def refusals(self) -> tuple[tuple[str, float], ...]:
        """What was refused, and when it last was, seconds since 1970; the newest last, many of them."""
        return tuple(self._refused_at.items())


class Catalog:
    """The offerings of all drivers, by their options, and the cool-downs of all pools."""

    def __init__(self, drivers: Mapping[str, Driver], clock: Clock) -> None:
        self._drivers = drivers
        self._clock = clock
        self._answers: dict[str, Aged[tuple[Offering, ...]]] = {}
        self.cool_downs = CoolDowns()

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(self._drivers)

    def answer(self, provider: str, options: Json) -> Aged[tuple[Offering, ...]] | None:
        """What this driver offers with these options; None without such a driver."""
        driver = self._drivers.get(provider)
        if driver is None:
            return None
        key = key_of(provider, options)
        if key not in self._answers and len(self._answers) >= _KEYS:
            self._answers = {old: found for old, found in self._answers.items() if found.usable() is not None}
        return self._answers.setdefault(
            key, Aged(partial(_ask, driver, options), self._clock, fresh_s=_KEPT_S, usable_s=_USABLE_S)
        )


class Offerings:
    """What launches look at. Never waits: who asks is woken when there is an answer."""

    def __init__(self, catalog: Catalog, clock: Clock, calls: Calls, wake: Callable[[str], None]) -> None:
        self._catalog = catalog
        self._clock = clock
        self._calls = calls
        self._wake = wake
        self._waiting: dict[str, dict[str, None]] = {}
        self._asked_at: dict[str, float] = {}

    def of(self, provider: str, options: Json, asker: str) -> tuple[Offering, ...] | None:
        """None while they are being read. Its last answer when it takes too long, or could not say lately; empty without one,
        or without such a driver."""
        aged = self._catalog.answer(provider, options)
        if aged is None:
            return ()
        fresh = aged.fresh()
        if fresh is not None:
            return fresh.value
        key, now = key_of(provider, options), self._clock.monotonic()
        old = aged.usable()
        instead = old.value if old is not None else ()
        hindered = self._calls.hindrance(key)
        if isinstance(hindered, After):
            return instead
        if hindered is None:
            self._asked_at[key] = now
            self._calls.begin(key, provider, partial(_read, aged), lambda _: self._told(key))
        self._waiting.setdefault(key, {})[asker] = None
        return None if now < self._asked_at[key] + PATIENCE_S else instead

    def _told(self, key: str) -> None:
        for asker in self._waiting.pop(key, ()):
            self._wake(asker)


def key_of(provider: str, options: Json) -> str:
    return f"offerings of {provider} {json.dumps(options, sort_keys=True)}"


async def _read(aged: Aged[tuple[Offering, ...]]) -> None:
    await aged.read_now()


async def _ask(driver: Driver, options: Json) -> tuple[Offering, ...]:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await driver.offerings(options)
    except TimeoutError as error:
        raise ProviderError(f"{driver.facts.name} did not say in time what it offers") from error
