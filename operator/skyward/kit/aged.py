"""A reading with its age: read again when it is too old, and kept for a while when that fails.

Drivers keep what providers tell them by kinds: types change with a release, prices within hours, what is free within minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from skyward.contracts import Clock
from skyward.errors import ProviderError

TYPES_S = 24 * 3600.0
PRICES_S = 3600.0
SUPPLY_S = 120.0
"""How old each kind may grow before it is read again."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    value: T
    read_at: float
    """When it was asked for, seconds since 1970."""
    asked_at: float
    """The same on the monotonic clock."""
    problem: str = ""
    """Why it could not be read again since then; empty when nothing is wrong."""


class Aged(Generic[T]):
    """One value; who asks while it is being read waits for the same reading."""

    def __init__(self, read: Callable[[], Awaitable[T]], clock: Clock, *, fresh_s: float, usable_s: float) -> None:
        """Read again after `fresh_s`; when that fails, one younger than `usable_s` will do."""
        self._read = read
        self._clock = clock
        self._fresh_s = fresh_s
        self._usable_s = usable_s
        self._newest: Reading[T] | None = None
        self._lock = asyncio.Lock()

    def fresh(self) -> Reading[T] | None:
        return self._younger_than(self._fresh_s)

    def usable(self) -> Reading[T] | None:
        """Also one that should be read again."""
        return self._younger_than(self._usable_s)

    async def get(self) -> Reading[T]:
        """Raises what reading raised when there is nothing usable."""
        async with self._lock:
            found = self.fresh()
            if found is not None:
                return found
            try:
                return await self.read_now()
            except ProviderError as error:
                old = self.usable()
                if old is None:
                    raise
                return Reading(old.value, old.read_at, old.asked_at, str(error))

    async def read_now(self) -> Reading[T]:
        """Read, however young the newest is. Raises what reading raises."""
        read_at, asked_at = self._clock.now(), self._clock.monotonic()
        self._newest = Reading(await self._read(), read_at, asked_at)
        return self._newest

    def _younger_than(self, age_s: float) -> Reading[T] | None:
        newest = self._newest
        return newest if newest is not None and self._clock.monotonic() < newest.asked_at + age_s else None
