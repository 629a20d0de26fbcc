"""Calls to providers, off the workers that reconcile: one that hangs delays what waits for it, and nothing else.

A key has at most one call at a time. A key whose call failed is left alone for a growing while. Calls of one lane (one
pool at one provider) share a limit, so that no pool floods a provider, and lanes do not wait for each other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from skyward.contracts import Clock, Ids
from skyward.errors import SkyError
from skyward.kit.backoff import Backoff
from skyward.kit.controller import DONE, After, Next

_log = structlog.get_logger()
_REPEATS_BEFORE_QUIET = 3
_LONGEST_PAUSE_S = 60.0

Call = Callable[[], Awaitable[None]]
Wake = Callable[[float], None]
"""Look again after so many seconds."""


class Calls:
    """A component that is started before whoever begins calls. Ending `run` cuts off those that are under way."""

    name = "provider calls"

    def __init__(self, clock: Clock, ids: Ids, *, at_once: int = 16) -> None:
        """`at_once`: how many calls of one lane may be under way."""
        self._clock = clock
        self._backoff = Backoff(ids, most_s=_LONGEST_PAUSE_S)
        self._at_once = at_once
        self._under_way: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._lanes: dict[str, asyncio.Semaphore] = {}
        self._sizes: Counter[str] = Counter()
        self._group: asyncio.TaskGroup | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as self._group:
            ready()
            await asyncio.Event().wait()

    def hindrance(self, key: str) -> Next | None:
        """Why no call of this key may begin now: one is under way, whose end wakes, or the last one failed lately."""
        if key in self._under_way:
            return DONE
        left_s = self._not_before.get(key, 0.0) - self._clock.monotonic()
        return After(left_s, "the last call failed and is tried again then") if left_s > 0 else None

    def begin(self, key: str, lane: str, call: Call, wake: Wake) -> Next:
        """Begin a call unless something hinders it. `wake` is called when it has ended, with the time that a failed one is to
        be left alone."""
        hindered = self.hindrance(key)
        if hindered is not None:
            return hindered
        if self._group is None:
            raise RuntimeError("calls begin only while their component runs")
        self._under_way.add(key)
        self._group.create_task(self._run(key, lane, call, wake), name=f"call of {key}")
        return DONE

    async def _run(self, key: str, lane: str, call: Call, wake: Wake) -> None:
        self._sizes[lane] += 1
        try:
            async with self._lanes.setdefault(lane, asyncio.Semaphore(self._at_once)):
                await call()
        except Exception as error:
            retry_s = self._backoff.next_s(key)
            self._not_before[key] = self._clock.monotonic() + retry_s
            self._report(key, error, retry_s)
        else:
            retry_s = 0.0
            self._backoff.forget(key)
            self._not_before.pop(key, None)
        finally:
            self._under_way.discard(key)
            self._leave(lane)
        wake(retry_s)

    def forget(self, key: str) -> None:
        """The key is gone for good: what was remembered of its failures goes too."""
        self._backoff.forget(key)
        self._not_before.pop(key, None)

    def _leave(self, lane: str) -> None:
        self._sizes[lane] -= 1
        if not self._sizes[lane]:
            del self._sizes[lane], self._lanes[lane]

    def _report(self, key: str, error: Exception, retry_s: float) -> None:
        log = _log.warning if self._backoff.failures(key) <= _REPEATS_BEFORE_QUIET else _log.debug
        log(
            "provider call failed",
            key=key,
            error=str(error) or type(error).__name__,
            retry_s=round(retry_s, 3),
            exc_info=not isinstance(error, SkyError),
        )
