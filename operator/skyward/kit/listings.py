"""What each provider says exists: the newest complete listing, how old it is, and why there is no newer one.

A listing is read every `resync_s` of its driver. After a poke (something was created or deleted) it is read at once,
then at growing intervals until the usual pace is reached, which is
faster while an instance starts or leaves. A failed reading changes nothing but the error and the age:
whoever decides from a listing asks `fresh` first. So does a complete listing that raises a doubt: one that cannot come
from this store's own history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from skyward.contracts import Clock, Driver, Ids
from skyward.errors import ProviderError, RateLimited
from skyward.facts import Instance, InstanceState, Listing
from skyward.kit.absences import Absences
from skyward.kit.backoff import Backoff
from skyward.kit.lineage import Doubt
from skyward.kit.shown import Shown, look_through
from skyward.kit.waiting import wait_for

_log = structlog.get_logger()
_STALE_RESYNCS = 3
_FASTEST_SHARE = 1 / 20
_SLOWING = 1.5
_MOVING_SHARE = 1 / 8
_MOVING = (InstanceState.STARTING, InstanceState.LEAVING)
_DEADLINE_S = 120.0
_REMEMBERED_S = 600.0
"""Everybody who cares about an instance that is missing asks for it more often."""

Judge = Callable[[Listing], Awaitable[Doubt | None]]
"""Says why a complete listing is not to be acted on."""


class Listings:
    """`run` reads; everything else answers from memory, on the event loop."""

    def __init__(self, drivers: Mapping[str, Driver], owner: str, clock: Clock, ids: Ids) -> None:
        self._readers = {name: _Reader(name, driver, owner, clock, ids) for name, driver in drivers.items()}

    async def run(self, ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as group:
            for name, reader in self._readers.items():
                group.create_task(reader.run(), name=f"listing of {name}")
            ready()
            await asyncio.Event().wait()

    def newest(self, provider: str) -> Listing | None:
        """The newest complete listing, however old."""
        shown = self._shown(provider)
        return shown.listing if shown is not None else None

    def instance(self, provider: str, instance_id: str) -> Instance | None:
        """This instance as the newest complete listing shows it."""
        shown = self._shown(provider)
        return shown.by_id.get(instance_id) if shown is not None else None

    def of_launch(self, provider: str, launch: str) -> tuple[Instance, ...]:
        """What the newest complete listing shows of this launch, by id; the same object as long as that is the same."""
        return self.by_launch(provider).get(launch, ())

    def by_launch(self, provider: str) -> Mapping[str | None, tuple[Instance, ...]]:
        """All that the newest complete listing shows; None holds what carries no readable mark."""
        shown = self._shown(provider)
        return shown.by_launch if shown is not None else {}

    def missing_since(self, provider: str, instance_id: str, after: float) -> float | None:
        """Since when complete listings lack this instance, of those that began then or later; None when they do not."""
        reader = self._readers.get(provider)
        return reader.absences.missing_since(instance_id, after) if reader else None

    def error(self, provider: str) -> str:
        """Why the last reading failed; empty when it did not."""
        reader = self._readers.get(provider)
        return reader.error if reader else f"there is no driver for provider {provider!r}"

    def judge_by(self, judge: Judge) -> None:
        """To be called before `run`: no listing counts before this has judged it."""
        for reader in self._readers.values():
            reader.judge = judge

    def doubt(self, provider: str) -> Doubt | None:
        """Why the newest reading is not acted on; None when it is, or failed."""
        reader = self._readers.get(provider)
        return reader.doubt if reader else None

    def fresh(self, provider: str, now: float) -> bool:
        """There is a complete listing that began no longer than three resyncs ago, and no doubt since."""
        reader = self._readers.get(provider)
        return reader is not None and reader.is_fresh(now)

    def poke(self, provider: str) -> None:
        """Something was changed at the provider: read soon, and often for a while."""
        if reader := self._readers.get(provider):
            reader.poke()

    async def refresh(self, provider: str) -> Listing:
        """A complete listing that begins after this call. Raises ProviderError when that reading fails."""
        reader = self._readers.get(provider)
        if reader is None:
            raise ProviderError(self.error(provider))
        return await reader.refresh()

    def touched(self, provider: str) -> frozenset[str] | None:
        """Ids of the instances, and of their launches, that the newest change is about; None when it is about all of them."""
        reader = self._readers.get(provider)
        return reader.touched if reader else None

    def _shown(self, provider: str) -> Shown | None:
        reader = self._readers.get(provider)
        return reader.shown if reader else None

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back with a provider whose instances changed, or whose listing became fresh or stale."""
        for reader in self._readers.values():
            reader.callbacks.append(callback)


class _Reader:
    def __init__(self, name: str, driver: Driver, owner: str, clock: Clock, ids: Ids) -> None:
        self.shown: Shown | None = None
        self.error = ""
        self.judge: Judge = _trust
        self.doubt: Doubt | None = None
        self.callbacks: list[Callable[[str], None]] = []
        self.touched: frozenset[str] | None = None
        self.absences = Absences(driver.facts.visibility_s + _REMEMBERED_S)
        self._name = name
        self._driver = driver
        self._owner = owner
        self._clock = clock
        self._backoff = Backoff(ids, first_s=1.0)
        self._resync_s = driver.facts.resync_s
        self._pace_s = self._resync_s
        self._poked = asyncio.Event()
        self._waiters: list[asyncio.Future[Listing]] = []
        self._was_fresh = False

    def is_fresh(self, now: float) -> bool:
        if self.doubt is not None:
            return False
        return self.shown is not None and now - self.shown.listing.started_at <= _STALE_RESYNCS * self._resync_s

    def poke(self) -> None:
        self._pace_s = self._resync_s * _FASTEST_SHARE
        self._poked.set()

    async def refresh(self) -> Listing:
        waiter: asyncio.Future[Listing] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._poked.set()
        return await waiter

    async def run(self) -> None:
        while True:
            self._poked.clear()
            pause_s = await self._read()
            await self._rest(pause_s)

    async def _read(self) -> float:
        """One reading; how long to pause after it."""
        waiters, self._waiters = self._waiters, []
        try:
            listing = await self._list()
            doubt = await self.judge(listing)
            shown = await look_through(listing, self.shown)
        except asyncio.CancelledError:
            for waiter in waiters:
                waiter.cancel()
            raise
        except Exception as error:
            return self._failed(error, waiters)
        return self._succeeded(shown, waiters) if doubt is None else self._doubted(doubt, waiters)

    async def _list(self) -> Listing:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                return await self._driver.list(self._owner)
        except TimeoutError as error:
            raise ProviderError(f"listing {self._name}: no answer within {_DEADLINE_S:.0f} s") from error

    def _succeeded(self, shown: Shown, waiters: list[asyncio.Future[Listing]]) -> float:
        if self.error:
            _log.info("listing works again", provider=self._name)
        self.error = ""
        self.doubt = None
        self.shown = shown
        self.absences.take(shown.listing)
        self._backoff.forget("")
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(shown.listing)
        self._notify(shown.touched is None or bool(shown.touched), shown.touched)
        pause_s = self._pace_s
        moving = any(instance.state in _MOVING for instance in shown.by_id.values())
        slowest_s = self._resync_s * _MOVING_SHARE if moving else self._resync_s
        self._pace_s = min(slowest_s, self._pace_s * _SLOWING)
        return pause_s

    def _doubted(self, doubt: Doubt, waiters: list[asyncio.Future[Listing]]) -> float:
        """What was known before stays as it was, and nobody may act on it."""
        message = str(doubt)
        is_new = message != self.error
        if is_new:
            _log.error("listing not trusted", provider=self._name, hash=doubt.hash, error=message)
        self.doubt, self.error = doubt, message
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(ProviderError(message))
        self._notify(changed=is_new)
        return self._resync_s

    def _failed(self, error: Exception, waiters: list[asyncio.Future[Listing]]) -> float:
        message = str(error) or type(error).__name__
        if message != self.error:
            unexpected = not isinstance(error, ProviderError)
            _log.warning("listing failed", provider=self._name, error=message, exc_info=unexpected)
        self.error = message
        answer = error if isinstance(error, ProviderError) else ProviderError(f"listing {self._name}: {message}")
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(answer)
        self._notify(changed=False)
        pause_s = self._backoff.next_s("")
        return max(pause_s, error.retry_after_s) if isinstance(error, RateLimited) else pause_s

    async def _rest(self, pause_s: float) -> None:
        """Sleep until the next reading is due or asked for; say so when the listing turns stale meanwhile. Nobody hurries a
        provider that fails, and no two readings follow each other without the shortest pause."""
        failed = bool(self.error) and self.doubt is None
        await self._sleep(pause_s if failed else self._resync_s * _FASTEST_SHARE, hurry=False)
        if not failed:
            await self._sleep(pause_s - self._resync_s * _FASTEST_SHARE, hurry=True)

    async def _sleep(self, seconds: float, *, hurry: bool) -> None:
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            step_s = min(left, self._until_stale())
            if not hurry:
                await self._clock.sleep(step_s)
            elif await wait_for(self._poked, step_s):
                return
            self._notify(changed=False)

    def _until_stale(self) -> float:
        if not self._was_fresh or self.shown is None:
            return float("inf")
        age_s = self._clock.now() - self.shown.listing.started_at
        return max(0.001, _STALE_RESYNCS * self._resync_s - age_s + 0.001)

    def _notify(self, changed: bool, touched: frozenset[str] | None = None) -> None:
        fresh = self.is_fresh(self._clock.now())
        if not changed and fresh is self._was_fresh:
            return
        self.touched = touched if fresh is self._was_fresh else None
        self._was_fresh = fresh
        for callback in self.callbacks:
            callback(self._name)


async def _trust(listing: Listing) -> Doubt | None:
    return None
