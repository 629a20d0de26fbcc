"""Figures of the path caller → gateway → queue → agent → back, with an in-process agent. By hand: `python -m tests.sdk.measure`."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from skyward.contracts import PoolFacts, Rank
from skyward.queue import DurableQueue
from skyward.sdk.session import Session
from skyward.store import open_store
from skyward_agent.wire.messages import SUCCEEDED, Lease, Report
from tests.fakes.ids import FakeIds
from tests.gateway.world import POOL, RealClock, World
from tests.sdk.world import ThreadedWorld

NOTHING = b"\x80\x05N."


async def no_op(lease: Lease, function: bytes, write: Any) -> Report:
    return Report(lease.id, SUCCEEDED, value=NOTHING)


def nothing(*_: Any) -> None: ...


def durable_world(directory: Path, nodes: int, lanes: int) -> ThreadedWorld:
    threaded = ThreadedWorld(work=no_op)
    world = threaded.world

    def pools(key: str) -> PoolFacts | None:
        ready = tuple(Rank(uid, name, "127.0.0.1") for uid, name in world.nodes.items())
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return PoolFacts(key, "pool-uid", len(ready), python, False, ready) if key == POOL else None

    async def prepare(world: World) -> None:
        store = open_store(directory, clock=RealClock(), ids=FakeIds())
        world.queue = DurableQueue(store, clock=RealClock(), ids=FakeIds(1), pools=pools)
        await world.queue.recover()

    threaded.start(nodes, lanes, prepare)
    return threaded


def measure(session: Session) -> dict[str, float]:
    pool = session.pool("hello")
    for _ in range(200):
        pool.run(nothing)
    trips = []
    for _ in range(1000):
        began = time.perf_counter()
        pool.run(nothing)
        trips.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    count = sum(1 for _ in pool.map(nothing, range(5000)))
    map_s = time.perf_counter() - began
    began = time.perf_counter()
    for future in [pool.submit(nothing) for _ in range(5000)]:
        future.result()
    submit_s = time.perf_counter() - began
    quantiles = statistics.quantiles(trips, n=100)
    return {
        "round_trip_ms_p50": round(quantiles[49], 3),
        "round_trip_ms_p99": round(quantiles[98], 3),
        "map_items_per_s": round(count / map_s),
        "submits_per_s": round(5000 / submit_s),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = durable_world(Path(directory), nodes=2, lanes=8)
        with world.session() as session:
            print(json.dumps(measure(session)))
        world.stop()


if __name__ == "__main__":
    main()
