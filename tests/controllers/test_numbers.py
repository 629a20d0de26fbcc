"""A pool is looked at again when the numbers of its queue are others than its status says, and only then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from skyward.api import Pool, PoolStatus
from skyward.contracts import Clock
from skyward.controllers.deps import Deps
from skyward.controllers.numbers import Numbers, are_mere_numbers
from skyward.kit.cache import ObjectCache
from skyward.store import memory_store
from tests.builders import make_pool
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual


@dataclass
class Counts:
    """The queue, as far as it is counted."""

    of_pool: dict[str, tuple[int, int]] = field(default_factory=dict)

    def counts(self, pool: str) -> tuple[int, int]:
        return self.of_pool.get(pool, (0, 0))


@dataclass
class Known:
    clock: Clock
    cache: ObjectCache
    queue: Counts


def woken(pool: Pool, queued: int, running: int, for_s: float) -> list[str]:
    """Which keys are woken while the queue of this pool has these numbers."""
    clock = FakeClock()
    keys: list[str] = []

    async def story() -> None:
        store = memory_store(clock, FakeIds())
        await store.run(lambda tx: tx.put(pool))
        cache = ObjectCache(store)
        await cache.start()
        known = Known(clock, cache, Counts({pool.key: (queued, running)}))
        watching = asyncio.create_task(Numbers(cast(Deps, known), keys.append).run(lambda: None))
        await asyncio.sleep(for_s)
        watching.cancel()
        await store.close()

    run_virtual(story(), clock)
    return keys


def test_a_status_that_is_behind_its_queue_wakes_its_pool_soon() -> None:
    pool = make_pool().replace(status=PoolStatus(queued=1))

    assert woken(pool, queued=0, running=1, for_s=3.0) == [pool.key]


def test_a_status_with_the_right_numbers_costs_no_pass() -> None:
    pool = make_pool().replace(status=PoolStatus(queued=3, running=2))

    assert woken(pool, queued=3, running=2, for_s=3_600.0) == []


def test_what_a_pass_wrote_of_the_queue_alone_calls_for_no_other_pass() -> None:
    before = make_pool().replace(status=PoolStatus(queued=1, running=2, busy=2))
    after = before.replace(
        status=PoolStatus(queued=3, running=4, busy=1), metadata=before.metadata.replace(resource_version="9")
    )

    assert are_mere_numbers(before, after)
    assert not are_mere_numbers(before, after.replace(status=PoolStatus(queued=3, nodes=1)))
    assert not are_mere_numbers(before, after.replace(metadata=after.metadata.replace(annotations={"a": "b"})))
    assert not are_mere_numbers(before, after.replace(spec=after.spec.replace(nodes=7)))
