"""What it costs to look at everything when nothing changes, and how soon a saved file becomes a create call.

Each size runs in a process of its own. Nodes are settled from the start: rows, launches and machines are put in place, and a
stand-in says of every agent that it is there. All else is real.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hack.benches.place import Place, Side, operator, peak_rss_mb, rss_mb
from skyward.api import Pool, to_time
from skyward.contracts import Transaction
from skyward.facts import AgentSession, BootstrapProgress, BootstrapRequest, BootstrapState, NodeConfig
from skyward.kit.cache import ObjectCache
from skyward.kit.directory import pool_facts
from skyward.kit.steady import SteadyClock
from skyward.queue import DurableQueue
from skyward.system.clock import SystemIds
from tests.builders import make_launch, make_node, make_offering, ready_conditions
from tests.fakes.cloud import FakeCloud, Machine
from tests.fakes.ids import FakeIds
from tests.fakes.nodes import FakeCredentials

SIZES = ((100, 5), (1_000, 50), (10_000, 500))
"""Nodes and pools."""
STEADY_S = 35.0
"""A little more than one resync. All sizes together take less than five minutes."""
SAVES = 40
GOALS = {
    "pass_cpu_s": 1.0,
    "rss_mb": 500,
    "steady_core_share": 0.05,
    "first_create_p50_ms": 60,
    "first_create_p99_ms": 150,
}


class StillLink:
    """Every node that was there from the start has an agent that is well and never says anything new."""

    def __init__(self) -> None:
        self._sessions: dict[str, AgentSession] = {}
        self._configs: dict[str, NodeConfig] = {}

    def admit(self, uids: Iterable[str], now: float) -> None:
        for uid in uids:
            self._sessions[uid] = AgentSession(uid, "1", True, now, now, version="1", ready=True)

    def session(self, node_uid: str) -> AgentSession | None:
        return self._sessions.get(node_uid)

    def sessions(self) -> Mapping[str, AgentSession]:
        return self._sessions

    def configure(self, node_uid: str, config: NodeConfig) -> None:
        if self._configs.get(node_uid) != config:
            self._configs[node_uid] = config

    def dismiss(self, node_uid: str, reason: str) -> None:
        self._sessions.pop(node_uid, None)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        return None


class StillBootstrapper:
    """Channels on which nothing happens."""

    def start(self, request: BootstrapRequest) -> None:
        return None

    def progress(self, node_uid: str) -> BootstrapProgress:
        return _CONNECTING

    async def stop(self, node_uid: str) -> None:
        return None

    def subscribe(self, callback: Callable[[str], None]) -> None:
        return None


_CONNECTING = BootstrapProgress(BootstrapState.CONNECTING)


async def _side(store: Any, cache: ObjectCache, cloud: FakeCloud, clock: SteadyClock, ids: SystemIds) -> Side:
    link = StillLink()
    queue = DurableQueue(store, clock=clock, ids=ids, pools=pool_facts(cache, link, python="3.11"))
    await queue.recover()
    return Side(link, StillBootstrapper(), FakeCredentials(FakeIds()), queue)


# --- a settled world ---------------------------------------------------------------------------------------------


async def _settle(place: Place, nodes: int, pools: int) -> None:
    for number in range(pools):
        place.save(f"pool-{number:03d}", nodes // pools)
    await place.until("the pools", lambda: len(place.pools()) == pools)
    now = place.clock.now()
    for pool in place.pools():
        await place.store.run(lambda tx, pool=pool: _fill(tx, place, pool, now))  # type: ignore[misc]
    assert isinstance(place.link, StillLink)
    place.link.admit((node.metadata.uid for node in place.nodes()), now)


def _fill(tx: Transaction, place: Place, pool: Pool, now: float) -> None:
    """All nodes of one pool, from one launch, with their machines."""
    launch_id, offering = f"launch-{pool.metadata.name}", make_offering("small", usd_per_hour=0.25)
    nodes = []
    for slot in range(pool.spec.nodes):
        instance = f"i-{pool.metadata.name}-{slot}"
        told = ready_conditions(at=now - 300)
        node = make_node(
            pool,
            slot,
            created_at=now - 600,
            launch=launch_id,
            provider_id=instance,
            conditions=told,
            address="10.0.0.1",
            offering="small",
            hourly_cost="0.25",
            agent_version="1",
            last_heartbeat=to_time(now),
        )
        nodes.append(tx.put(node))
        machine = Machine(
            instance, place.store.installation, launch_id, pool.metadata.uid, now - 590, now - 570, now - 590
        )
        place.cloud._machines[instance] = machine
    made = [node.status.provider_id for node in nodes]
    tx.put_launch(make_launch(nodes, launch_id, created_at=now - 595, instances=made, offering=offering))


# --- measurements ------------------------------------------------------------------------------------------------


async def _rest(place: Place) -> None:
    """Until one whole second passed without a write. A resync always goes round."""
    seen = -1
    while seen != place.store.writes or not place.is_idle:
        seen = place.store.writes
        await asyncio.sleep(1.0)


async def _full_pass(place: Place) -> float:
    """CPU seconds to look at every pool and every node once."""
    began = time.process_time()
    for name, keys in (("pool", place.cache.keys(Pool)), ("node", tuple(node.key for node in place.nodes()))):
        for key in keys:
            place.controllers[name].queue.add(key)
    await place.until("the end of a full pass", lambda: place.is_idle)
    return time.process_time() - began


async def _steady(place: Place, seconds: float) -> dict[str, Any]:
    version = await place.store.read(lambda tx: tx.version())
    transactions, calls = place.store.writes, dict(place.cloud.calls)
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    written = await place.store.read(lambda tx: tx.version()) - version
    made = {
        name: count - calls.get(name, 0) for name, count in place.cloud.calls.items() if count != calls.get(name, 0)
    }
    return {
        "steady_core_share": round(share, 4),
        "steady_rows_written": written,
        "steady_transactions": place.store.writes - transactions,
        "steady_calls": made,
    }


async def _first_creates(place: Place, saves: int) -> dict[str, float]:
    """From the rename of a file with a new pool to its create call; one after the other."""
    times: list[float] = []
    for number in range(saves):
        name = f"new-{number:03d}"
        began = place.save(name, 1)
        await place.until(
            f"the create call of {name}", lambda name=name: f"default/{name}" in place.driver.first_create
        )  # type: ignore[misc]
        times.append((place.driver.first_create[f"default/{name}"] - began) * 1_000)
        await asyncio.sleep(0.4)
    times.sort()
    return {
        "first_create_p50_ms": round(statistics.median(times), 1),
        "first_create_p99_ms": round(times[min(len(times) - 1, int(len(times) * 0.99))], 1),
    }


async def _measure(nodes: int, pools: int, steady_s: float, saves: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="skyward-bench-") as directory:
        cloud = FakeCloud(SystemClockOfCloud(), boot_s=0.0, latency_s=0.0)
        prepare = lambda place: _settle(place, nodes, pools)  # noqa: E731
        async with operator(Path(directory), cloud, _side, prepare) as place:
            await place.until("the listing", lambda: bool(place.controllers["node"].passes))
            await _rest(place)
            passes = [await _full_pass(place) for _ in range(5)]
            figures: dict[str, Any] = {
                "nodes": nodes,
                "pools": pools,
                "pass_cpu_s": round(statistics.median(passes), 3),
            }
            figures["pass_cpu_us_per_node"] = round(statistics.median(passes) / nodes * 1e6)
            figures["rss_mb"] = rss_mb()
            figures |= await _steady(place, steady_s)
            figures |= await _first_creates(place, saves)
            figures["peak_rss_mb"] = peak_rss_mb()
    return figures


class SystemClockOfCloud:
    """The cloud's clock is the host's."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def reconcile(arguments: list[str]) -> dict[str, Any]:
    """All sizes, and 1 pool for the time to the first create."""
    if arguments and arguments[0] == "--one":
        nodes, pools, steady_s, saves = arguments[1:]
        return asyncio.run(_measure(int(nodes), int(pools), float(steady_s), int(saves)))
    sizes = [_apart(nodes, pools, STEADY_S, SAVES) for nodes, pools in SIZES]
    return {"goals": GOALS, "one_pool": _apart(1, 1, 1.0, SAVES), "sizes": sizes}


def _apart(nodes: int, pools: int, steady_s: float, saves: int) -> dict[str, Any]:
    command = [sys.executable, sys.argv[0], "reconcile", "--one", str(nodes), str(pools), str(steady_s), str(saves)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return {name: value for name, value in figures.items() if name not in ("bench", "machine")}
