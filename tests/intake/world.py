"""An operator's intake over a directory in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skyward.api import (
    Condition,
    Event,
    Pool,
    PoolCondition,
    Reason,
    Source,
    SourceCondition,
    Status,
    find,
    to_time,
)
from skyward.contracts import Store, Transaction
from skyward.intake import MARKER, DirectorySource
from skyward.store import memory_store
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual
from tests.intake.files import MemoryFiles

ROOT = "/manifests"
POLL_S = 10.0


def manifest(name: str, nodes: int = 2, **metadata: str) -> str:
    extra = "".join(f", {key}: {value}" for key, value in metadata.items())
    return (
        f"apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {{name: {name}{extra}}}\n"
        f"spec:\n  nodes: {nodes}  # how many\n  provider: local\n"
    )


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.ids = FakeIds()
        self.files = MemoryFiles()
        self.files.make_directory(ROOT)
        self.store: Store = memory_store(self.clock, self.ids)
        self.settings = settings
        self.source = self.make_source()

    def make_source(self) -> DirectorySource:
        return DirectorySource(
            Path(ROOT),
            store=self.store,
            files=self.files,
            clock=self.clock,
            ids=self.ids,
            threaded=False,
            poll_s=POLL_S,
            **self.settings,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A new operator process over the same directory and store."""
        self.source = self.make_source()
        ready = asyncio.Event()
        task = asyncio.create_task(self.source.run(ready.set))
        try:
            await asyncio.wait((task, asyncio.create_task(ready.wait())), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def passes(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    # --- what is stored ---

    async def pool(self, key: str = "default/hello") -> Pool | None:
        return await self.store.read(lambda tx: tx.get(Pool, key))

    async def the_pool(self, key: str = "default/hello") -> Pool:
        pool = await self.pool(key)
        assert pool is not None, f"there is no pool {key}"
        return pool

    async def pools(self) -> list[str]:
        return [pool.key for pool in await self.store.read(lambda tx: tx.list(Pool))]

    async def leaving(self) -> list[str]:
        stored = await self.store.read(lambda tx: tx.list(Pool))
        return [pool.key for pool in stored if pool.metadata.deletion_timestamp is not None]

    async def report(self) -> Source:
        source = await self.store.read(lambda tx: tx.get(Source, "default/manifests"))
        assert source is not None
        return source

    async def readiness(self) -> Condition:
        found = find((await self.report()).status.conditions, SourceCondition.READY)
        assert found is not None
        return found

    async def problems(self) -> list[str]:
        return [str(problem) for problem in (await self.report()).status.rejected]

    async def acceptance(self, key: str = "default/hello") -> tuple[Status, Reason, str]:
        found = find((await self.the_pool(key)).status.conditions, PoolCondition.ACCEPTED)
        assert found is not None
        return found.status, found.reason, found.message

    async def events(self, key: str = "default/hello") -> list[tuple[Reason, int]]:
        stored = await self.store.read(lambda tx: tx.list(Event))
        own = [event for event in stored if f"{event.regarding.namespace}/{event.regarding.name}" == key]
        return [
            (event.reason, event.count) for event in sorted(own, key=lambda event: int(event.metadata.resource_version))
        ]

    async def version(self) -> int:
        return await self.store.read(lambda tx: tx.version())

    async def finish_deletion(self, key: str = "default/hello") -> None:
        """What the controllers do once everything of a pool is gone."""

        def work(tx: Transaction) -> None:
            pool = tx.get(Pool, key)
            assert pool is not None
            assert pool.metadata.deletion_timestamp is not None
            tx.delete(pool)

        await self.store.run(work)

    async def mark_deleted(self, key: str, *finalizers: str) -> None:
        def work(tx: Transaction) -> None:
            pool = tx.get(Pool, key)
            assert pool is not None
            meta = pool.metadata
            meta = meta.replace(
                deletion_timestamp=to_time(self.clock.now()), finalizers=(*meta.finalizers, *finalizers)
            )
            tx.put(pool.replace(metadata=meta))

        await self.store.run(work)

    def put(self, name: str, content: Any) -> None:
        self.files.put(f"{ROOT}/{name}", content)

    def text(self, name: str) -> str:
        return self.files.text(f"{ROOT}/{name}")

    @property
    def is_marked(self) -> bool:
        return f"{ROOT}/{MARKER}" in self.files.entries


def play(scene: Callable[[World], Awaitable[None]], **settings: Any) -> None:
    """Run a scene in virtual time: ten seconds of polling take none."""
    world = World(**settings)

    async def main() -> None:
        try:
            await scene(world)
        finally:
            await world.store.close()

    run_virtual(main(), world.clock)
