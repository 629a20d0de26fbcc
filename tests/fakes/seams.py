"""Where the operator touches the world: every call is counted, may be delayed by the seed, and may be its last.

A crash is the death of the process: from that call on nothing it does has an effect, and nothing comes back to it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import TypeVar

from skyward.api import Json
from skyward.contracts import Change, Driver, DriverFacts, FencedStore, Lease, Store, Transaction
from skyward.errors import StoreUnavailable
from skyward.facts import Instance, Launch, LaunchOutcome, LaunchRequest, Listing, Offering

T = TypeVar("T")


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


class Seams:
    """One operator process."""

    def __init__(self, seed: int = 0, *, crash_at: int | None = None, when: When = When.BEFORE) -> None:
        self.calls = 0
        self.crashed = asyncio.Event()
        self.disk_is_full = False
        self._running = asyncio.Event()
        self._running.set()
        self._random = random.Random(seed)
        self._crash_at = crash_at
        self._when = when

    async def cross(self, call: Callable[[], Awaitable[T]]) -> T:
        await self.check_alive()
        self.calls += 1
        last = self.calls == self._crash_at
        if last and self._when is When.BEFORE:
            await self.die()
        await asyncio.sleep(self._random.random() * 0.002)  # another order of things for every seed
        await self.check_alive()
        answer = await call()
        if last:
            await self.die()
        await self.check_alive()
        return answer

    async def die(self) -> None:
        self.crashed.set()
        await asyncio.Event().wait()

    def check_disk(self) -> None:
        if self.disk_is_full:
            raise StoreUnavailable("the store could not commit, nothing of this was written: disk full")

    def pause(self) -> None:
        """SIGSTOP: nothing that it does reaches the world until `go_on`."""
        self._running.clear()

    def go_on(self) -> None:
        self._running.set()

    async def check_alive(self) -> None:
        await self._running.wait()
        if self.crashed.is_set():
            await asyncio.Event().wait()


class SeamStore:
    """The store as one operator process has it."""

    def __init__(self, store: Store, seams: Seams, committed: Callable[[tuple[Launch, ...]], None]) -> None:
        self._store = store
        self._seams = seams
        self._committed = committed

    @property
    def installation(self) -> str:
        return self._store.installation

    @property
    def is_idle(self) -> bool:
        return False  # every write of a process is a place where it may die

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False, quick: bool = False) -> T:
        async def call() -> T:
            self._seams.check_disk()
            answer = await self._store.run(work, power_safe=power_safe, quick=quick)
            self._committed(await self._store.read(lambda tx: tx.launches()))
            return answer

        return await self._seams.cross(call)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._store.read(work)

    async def changes(self, since: int, limit: int = 1000) -> Sequence[Change]:
        return await self._store.changes(since, limit)

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        def alive(changes: Sequence[Change]) -> None:
            if not self._seams.crashed.is_set():
                callback(changes)

        return self._store.subscribe(alive)

    async def close(self) -> None:
        return None


class SeamLeases:
    """The store as the leadership of one operator process has it: its regular renewals are no seams of their own."""

    def __init__(self, store: FencedStore, seams: Seams) -> None:
        self._store = store
        self._seams = seams

    @property
    def installation(self) -> str:
        return self._store.installation

    async def lead(self, take: Callable[[Transaction], Lease | None], lost: Callable[[], None]) -> Lease | None:
        await self._seams.check_alive()
        return await self._store.lead(take, lost)

    @property
    def is_idle(self) -> bool:
        return False  # every write of a process is a place where it may die

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False, quick: bool = False) -> T:
        await self._seams.check_alive()
        self._seams.check_disk()
        return await self._store.run(work, power_safe=power_safe, quick=quick)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._store.read(work)

    async def changes(self, since: int, limit: int = 1000) -> Sequence[Change]:
        return await self._store.changes(since, limit)

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        return self._store.subscribe(callback)

    async def close(self) -> None:
        return None


class SeamDriver:
    """A driver as one operator process has it."""

    def __init__(self, driver: Driver, seams: Seams) -> None:
        self._driver = driver
        self._seams = seams

    @property
    def facts(self) -> DriverFacts:
        return self._driver.facts

    async def offerings(self, options: Json) -> tuple[Offering, ...]:
        return await self._driver.offerings(options)

    async def create(self, request: LaunchRequest) -> LaunchOutcome:
        return await self._seams.cross(lambda: self._driver.create(request))

    async def get(self, instance_id: str) -> Instance:
        return await self._seams.cross(lambda: self._driver.get(instance_id))

    async def list(self, owner: str) -> Listing:
        return await self._driver.list(owner)

    async def delete(self, instance_id: str) -> None:
        await self._seams.cross(lambda: self._driver.delete(instance_id))

    def drifted(self, instance: Instance, template: Json) -> str | None:
        return self._driver.drifted(instance, template)

    async def close(self) -> None:
        await self._driver.close()
