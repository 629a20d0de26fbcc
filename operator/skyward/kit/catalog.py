"""What could be launched: offerings as the drivers tell them, kept for a while, and the ones to leave alone for now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from skyward.api import Json, Reason
from skyward.contracts import Clock, Driver
from skyward.errors import ProviderError
from skyward.facts import CoolDown, Offering
from skyward.kit.calls import Calls
from skyward.kit.controller import After

_KEPT_S = 60.0
_DEADLINE_S = 30.0
PATIENCE_S = 5.0
"""A launch waits so long for one provider's answer; then it does without."""


@dataclass(frozen=True, slots=True)
class _Entry:
    offerings: tuple[Offering, ...]
    until: float


class Offerings:
    """Asks a driver at most once a minute for the same options. Never waits: who asks is woken when there is an answer."""

    def __init__(self, drivers: Mapping[str, Driver], clock: Clock, calls: Calls, wake: Callable[[str], None]) -> None:
        self._drivers = drivers
        self._clock = clock
        self._calls = calls
        self._wake = wake
        self._entries: dict[str, _Entry] = {}
        self._waiting: dict[str, dict[str, None]] = {}
        self._asked_at: dict[str, float] = {}

    def of(self, provider: str, options: Json, asker: str) -> tuple[Offering, ...] | None:
        """None while they are being read. Empty without such a driver, when it takes too long, and for a while after it
        could not say."""
        driver = self._drivers.get(provider)
        if driver is None:
            return ()
        key = f"offerings of {provider} {json.dumps(options, sort_keys=True)}"
        entry = self._entries.get(key)
        now = self._clock.monotonic()
        if entry is not None and now < entry.until:
            return entry.offerings
        hindered = self._calls.hindrance(key)
        if isinstance(hindered, After):
            return ()
        if hindered is None:
            self._asked_at[key] = now
            self._calls.begin(key, provider, partial(self._read, key, driver, options), lambda _: self._told(key))
        self._waiting.setdefault(key, {})[asker] = None
        return None if now < self._asked_at[key] + PATIENCE_S else ()

    async def _read(self, key: str, driver: Driver, options: Json) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                offerings = await driver.offerings(options)
        except TimeoutError as error:
            raise ProviderError(f"{driver.facts.name} did not say in time what it offers") from error
        self._entries[key] = _Entry(offerings, self._clock.monotonic() + _KEPT_S)

    def _told(self, key: str) -> None:
        for asker in self._waiting.pop(key, ()):
            self._wake(asker)


class CoolDowns:
    """What was refused lately, and why. In memory: a restart may try each once more."""

    def __init__(self) -> None:
        self._by_name: dict[str, CoolDown] = {}

    def add(self, name: str, until: float, message: str, reason: Reason) -> None:
        """Leave this offering (by id), or all of this provider, alone until then, seconds since 1970. An earlier end never
        shortens a later one."""
        old = self._by_name.get(name)
        if old is None or old.until < until:
            self._by_name[name] = CoolDown(name, until, message, reason)

    def current(self, now: float) -> tuple[CoolDown, ...]:
        self._by_name = {name: cool for name, cool in self._by_name.items() if cool.until > now}
        return tuple(self._by_name.values())
