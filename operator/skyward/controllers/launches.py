"""The launches in memory. Controllers are their only writers, so what was committed here is all there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from skyward.contracts import Store, Transaction
from skyward.facts import HostFailure, Launch, LaunchState

T = TypeVar("T")
Note = Callable[[Launch], None]
"""Tells of a launch that the transaction wrote."""
UNRESOLVED = frozenset({LaunchState.PREPARED, LaunchState.SENT, LaunchState.UNKNOWN})
"""It is not known yet what the create call made."""


class LaunchBook:
    """A component that is started before the controllers: it is ready when the launches are read."""

    name = "launches"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._launches: dict[str, Launch] = {}
        self._host_failures: dict[str, tuple[HostFailure, ...]] = {}
        """Of those launches that have any, by id."""
        self._loaded = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        launches = await self._store.read(lambda tx: tx.launches())
        self.learn(launches)
        self._loaded.set()
        ready()
        await asyncio.Event().wait()

    async def ids(self) -> Collection[str]:
        """Of all launches on record, tombstones included, once they are read."""
        await self._loaded.wait()
        return self._launches.keys()

    def has_made(self, provider: str, instance_id: str) -> bool:
        """An answer to one of our own create calls named this instance."""
        return any(
            instance_id in launch.instances for launch in self.all() if launch.request.offering.provider == provider
        )

    def get(self, launch_id: str) -> Launch | None:
        return self._launches.get(launch_id)

    def all(self) -> tuple[Launch, ...]:
        # One step of the interpreter: the writer's thread adds to the same dictionary.
        return tuple(self._launches.values())

    def of_pool(self, pool_uid: str) -> tuple[Launch, ...]:
        return tuple(launch for launch in self.all() if launch.pool_uid == pool_uid)

    def host_failures(self) -> Iterator[HostFailure]:
        """What launches keep of nodes whose records are gone."""
        for failures in tuple(self._host_failures.values()):
            yield from failures

    async def change(self, work: Callable[[Transaction], Launch | None]) -> Launch | None:
        """Commit, surviving power loss, a transaction that writes the launch it returns; None says that it wrote none."""

        def noting(tx: Transaction, note: Note) -> Launch | None:
            launch = work(tx)
            if launch is not None:
                note(launch)
            return launch

        return await self.write(noting, power_safe=True)

    async def write(self, work: Callable[[Transaction, Note], T], *, power_safe: bool) -> T:
        """Commit a transaction that notes every launch it writes.

        The launches are known here before anybody is told of the commit: whoever is woken by it finds them."""
        committed = False
        written: list[tuple[str, Launch | None]] = []

        def note(launch: Launch) -> None:
            written.append((launch.id, self._launches.get(launch.id)))
            self._know(launch)

        try:
            done = await self._store.run(lambda tx: work(tx, note), power_safe=power_safe)
            committed = True
            return done
        finally:
            if not committed:
                self._restore(written)

    async def replace(self, work: Callable[[Transaction], tuple[Launch, ...]]) -> tuple[Launch, ...]:
        """Commit, surviving power loss, a transaction that writes all the launches it returns."""
        launches = await self._store.run(work, power_safe=True)
        self.learn(launches)
        return launches

    def learn(self, launches: Iterable[Launch]) -> None:
        """After a transaction that wrote them."""
        for launch in launches:
            self._know(launch)

    def forget(self, launch_ids: Iterable[str]) -> None:
        """After a transaction that dropped them."""
        for launch_id in launch_ids:
            self._launches.pop(launch_id, None)
            self._host_failures.pop(launch_id, None)

    def _know(self, launch: Launch) -> None:
        self._launches[launch.id] = launch
        if launch.host_failures:
            self._host_failures[launch.id] = launch.host_failures
        else:
            self._host_failures.pop(launch.id, None)

    def _restore(self, written: list[tuple[str, Launch | None]]) -> None:
        for launch_id, before in reversed(written):
            if before is None:
                self.forget((launch_id,))
            else:
                self._know(before)
