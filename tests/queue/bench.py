"""How fast the queue is on a real store, without agents: `python -m tests.queue.bench`. Prints items per second."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path

from skyward.queue import DurableQueue
from skyward.store import open_store
from tests.queue.world import QueueWorld, done, holder, submission
from tests.store.world import CountingIds, StillClock

ITEMS = 5_000


async def _round_trips(queue: DurableQueue, count: int = 500) -> float:
    spent = []
    for number in range(count):
        start = time.perf_counter()
        await queue.submit(submission(f"trip-{number}", b"x" * 50))
        (lease,) = await queue.lease(holder(0), 1)
        await queue.report(holder(0), [done(lease.id)])
        spent.append(time.perf_counter() - start)
    return sorted(spent)[count // 2] * 1000


async def _drain(queue: DurableQueue, *, tell_started: bool) -> float:
    start = time.perf_counter()
    count = 0
    while leases := await queue.lease(holder(0), 64):
        attempts = [lease.id for lease in leases]
        if tell_started:
            await queue.started(holder(0), attempts)
        await queue.report(holder(0), [done(attempt) for attempt in attempts])
        count += len(leases)
    return count / (time.perf_counter() - start)


async def _measure(directory: Path) -> dict[str, float]:
    store = open_store(directory, clock=StillClock(), ids=CountingIds())
    queue = await QueueWorld(store).queue()
    figures = {"round_trip_p50_ms": await _round_trips(queue)}

    start = time.perf_counter()
    await asyncio.gather(*(queue.submit(submission(f"one-{number}", b"x" * 50)) for number in range(ITEMS)))
    figures["submit_single_per_s"] = ITEMS / (time.perf_counter() - start)
    figures["drain_single_per_s"] = await _drain(queue, tell_started=False)

    start = time.perf_counter()
    await queue.submit(submission("map", *(b"x" * 50 for _ in range(ITEMS)), mode="map"))
    figures["submit_map_items_per_s"] = ITEMS / (time.perf_counter() - start)
    figures["drain_map_per_s"] = await _drain(queue, tell_started=False)

    await queue.submit(submission("started", *(b"x" * 50 for _ in range(ITEMS)), mode="map"))
    figures["drain_map_with_started_per_s"] = await _drain(queue, tell_started=True)
    await store.close()
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(asyncio.run(_measure(Path(directory) / "state")), indent=2))


if __name__ == "__main__":
    main()
