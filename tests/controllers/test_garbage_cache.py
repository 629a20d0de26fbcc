"""The sweep reads nodes from a cache that may be older than what it knows of launches."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from skyward.controllers.deps import Deps, Durations
from skyward.controllers.garbage.reconciler import GarbageReconciler
from skyward.controllers.launches import LaunchBook
from skyward.kit.listings import Listings
from skyward.store.store import memory_store
from tests.builders import make_launch, make_node, make_pool
from tests.fakes.cloud import FakeCloud, FakeDriver
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual


def test_an_instance_whose_node_is_older_in_the_cache_than_its_launch_is_no_orphan() -> None:
    """The launch is known as bound a moment before the cache hears of the node that it was bound to."""
    clock = FakeClock()
    cloud = FakeCloud(clock, boot_s=0)

    async def story() -> None:
        node = make_node(make_pool(), launch="launch-1")
        launch = make_launch([node], instances=["launch-1/0"])
        store = memory_store(clock, FakeIds())
        await store.run(lambda tx: tx.put_launch(launch))
        book = LaunchBook(store)
        reading = asyncio.create_task(book.run(lambda: None))
        await book.ids()
        cloud.create(launch.request, has_token=True)
        drivers = {"local": FakeDriver(cloud)}
        listings = Listings(drivers, launch.request.owner, clock, FakeIds())
        listing = asyncio.create_task(listings.run(lambda: None))
        stale = SimpleNamespace(nodes_naming=lambda name: (node,) if name == node.status.launch else ())
        deps = SimpleNamespace(
            clock=clock,
            store=store,
            cache=stale,
            listings=listings,
            drivers=drivers,
            durations=Durations(),
        )
        garbage = GarbageReconciler(cast(Deps, deps), book)
        for _ in range(3):
            await asyncio.sleep(30)
            await garbage.reconcile("local")
        for task in (reading, listing):
            task.cancel()
        await asyncio.gather(reading, listing, return_exceptions=True)
        await store.close()

    run_virtual(story(), clock)

    assert len(cloud.alive) == 1
