"""What could be launched: offerings as the drivers tell them, kept for a while, and the ones to leave alone for now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from skyward.api import Json
from skyward.contracts import Clock, Driver
from skyward.facts import CoolDown, Offering

_KEPT_S = 60.0
_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Entry:
    offerings: tuple[Offering, ...]
    read_at: float


class Offerings:
    """Asks a driver at most once a minute for the same options."""

    def __init__(self, drivers: Mapping[str, Driver], clock: Clock) -> None:
        self._drivers = drivers
        self._clock = clock
        self._entries: dict[tuple[str, str], _Entry] = {}

    async def of(self, provider: str, options: Json) -> tuple[Offering, ...]:
        """Raises ProviderError (or TimeoutError) when they are not known and cannot be read. Empty without such a driver."""
        driver = self._drivers.get(provider)
        if driver is None:
            return ()
        key = (provider, json.dumps(options, sort_keys=True))
        entry = self._entries.get(key)
        now = self._clock.monotonic()
        if entry is None or now - entry.read_at > _KEPT_S:
            async with asyncio.timeout(_DEADLINE_S):
                entry = _Entry(await driver.offerings(options), now)
            self._entries[key] = entry
        return entry.offerings


class CoolDowns:
    """Offerings that were refused lately. In memory: a restart may try them once more."""

    def __init__(self) -> None:
        self._by_offering: dict[str, CoolDown] = {}

    def add(self, offering: str, until: float, message: str) -> None:
        """Leave this offering (by id) alone until then, seconds since 1970; an earlier end never shortens a later one."""
        old = self._by_offering.get(offering)
        if old is None or old.until < until:
            self._by_offering[offering] = CoolDown(offering, until, message)

    def current(self, now: float) -> tuple[CoolDown, ...]:
        self._by_offering = {name: cool for name, cool in self._by_offering.items() if cool.until > now}
        return tuple(self._by_offering.values())
