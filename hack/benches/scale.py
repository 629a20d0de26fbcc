"""200 nodes come and go in real time: from a saved file to all Ready, and from the delete to nothing left.

The cloud is in memory and boots a machine in 20 s; agents are coroutines of this process that speak the real wire. Store,
intake, controllers and gateway are the operator's own. CPU and memory are of everything together.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from hack.benches.agents import BOOTSTRAP_S, QuickBootstrapper
from hack.benches.place import PYTHON, Place, Side, operator, peak_rss_mb
from hack.benches.reconcile import SystemClockOfCloud
from skyward.api import NodeCondition, Pool, is_true, to_time
from skyward.contracts import Transaction
from skyward.gateway.gateway import Gateway
from skyward.gateway.output import MemoryOutputLog
from skyward.kit.cache import ObjectCache
from skyward.kit.directory import pool_facts
from skyward.kit.lifecycle import Named
from skyward.kit.steady import SteadyClock
from skyward.queue import DurableQueue
from skyward.store.credentials import StoreCredentials
from skyward.system.clock import SystemIds
from skyward.system.files import SystemFiles
from skyward.system.keys import load_keys
from tests.fakes.cloud import FakeCloud

NODES = 200
BOOT_S = 20.0
GOALS = {"all_ready_s": 25.0, "all_gone_s": 10.0}
POOL = "default/scale"


def scale(arguments: list[str]) -> dict[str, Any]:
    nodes = int(arguments[0]) if arguments else NODES
    return asyncio.run(_measure(nodes))


async def _measure(nodes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="skyward-bench-") as directory:
        cloud = FakeCloud(SystemClockOfCloud(), boot_s=BOOT_S, latency_s=0.2, deletion_s=2.0)  # type: ignore[arg-type]

        async def side(store: Any, cache: ObjectCache, cloud: FakeCloud, clock: SteadyClock, ids: SystemIds) -> Side:
            return await gateway_side(Path(directory), store, cache, clock, ids, QuickBootstrapper())

        async with operator(Path(directory), cloud, side, _nothing) as place:
            return await _come_and_go(place, nodes)


async def _nothing(place: Place) -> None:
    return None


async def gateway_side(
    directory: Path, store: Any, cache: ObjectCache, clock: SteadyClock, ids: SystemIds, bootstrapper: QuickBootstrapper
) -> Side:
    """The operator's own gateway and queue, and nodes that are bootstrapped in a moment."""
    keys = load_keys(directory / "keys", SystemFiles(), ids, clock.now())
    credentials = StoreCredentials(store, clock, ids)
    queue = DurableQueue(store, clock=clock, ids=ids, pools=lambda key: find_pool(key))
    await queue.recover()

    def name_of(uid: str) -> tuple[str, str] | None:
        node = cache.node_by_uid(uid)
        return None if node is None else (node.metadata.name, f"{node.metadata.namespace}/{node.spec.pool}")

    gateway = Gateway(
        queue=queue,
        credentials=credentials,
        output=MemoryOutputLog(),
        clock=clock,
        host="127.0.0.1",
        port=0,
        ssl_context=keys.server_context(),
        node_name=name_of,
        installation=store.installation,
    )
    find_pool = pool_facts(cache, gateway, python=PYTHON)
    components = (Named("gateway", gateway.run), Named("bootstrapper", bootstrapper.run))
    return Side(gateway, bootstrapper, credentials, queue, components, lambda: _endpoint(gateway), keys.ca_pem)


def _endpoint(gateway: Gateway) -> str:
    host, port = gateway.address
    return f"{host}:{port}"


async def _come_and_go(place: Place, nodes: int) -> dict[str, Any]:
    await asyncio.sleep(1.0)
    calls, cpu, writes = dict(place.cloud.calls), time.process_time(), place.store.writes
    place.save("scale", nodes)
    ready_s = await place.until(f"{nodes} ready nodes", lambda: _ready(place) == nodes)
    ready_cpu_s = time.process_time() - cpu
    came = {name: count - calls.get(name, 0) for name, count in place.cloud.calls.items()}
    calls, cpu = dict(place.cloud.calls), time.process_time()
    await place.store.run(lambda tx: _delete(tx, place))
    (place.manifests / "scale.yaml").unlink()
    gone_s = await place.until("nothing left", lambda: not (place.pools() or place.nodes() or place.cloud.alive))
    return {
        "goals": GOALS,
        "nodes": nodes,
        "boot_s": BOOT_S,
        "bootstrap_s": BOOTSTRAP_S,
        "all_ready_s": round(ready_s, 2),
        "all_gone_s": round(gone_s, 2),
        "ready_cpu_s": round(ready_cpu_s, 2),
        "gone_cpu_s": round(time.process_time() - cpu, 2),
        "ready_calls": came,
        "gone_calls": {name: count - calls.get(name, 0) for name, count in place.cloud.calls.items()},
        "transactions": place.store.writes - writes,
        "peak_rss_mb": peak_rss_mb(),
    }


def _ready(place: Place) -> int:
    return sum(is_true(node.status.conditions, NodeCondition.READY) for node in place.nodes())


def _delete(tx: Transaction, place: Place) -> None:
    """What the API does with a pool that somebody deletes."""
    pool = tx.get(Pool, POOL)
    assert pool is not None
    tx.put(pool.replace(metadata=pool.metadata.replace(deletion_timestamp=to_time(place.clock.now()))))
