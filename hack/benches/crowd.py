"""1,000 agents on one operator: what an idle one costs it, and how long after its submission a call is in an agent's hands.

The agents speak the real wire from other processes, hundreds in each; store, queue, controllers and gateway are the
operator's own, in this process, over a cloud in memory. Latency is from the client's send to the agent's receipt, through
the durable queue, at a steady rate of single calls.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import resource
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hack.benches.agents import QuickBootstrapper
from hack.benches.place import Place, Side, operator, rss_mb
from hack.benches.reconcile import SystemClockOfCloud
from hack.benches.scale import gateway_side
from skyward.api import SERVER_NAME, NodeCondition, is_true
from skyward.kit.cache import ObjectCache
from skyward.kit.steady import SteadyClock
from skyward.system.clock import SystemIds
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import ClientHello, ClientWelcome, PutFunction, Refused, Results, Submit
from tests.fakes.cloud import FakeCloud

AGENTS = 1_000
HOSTS = 4
PER_SECOND = 200
CALLS = 4_000
IDLE_S = 20.0
GOALS = {"operator_kb_per_idle_agent": 80}
_TOKEN = "bench"
_FUNCTION = b"nobody loads it"
_HOST = Path(__file__).with_name("agent_host.py")


def agents(arguments: list[str]) -> dict[str, Any]:
    return asyncio.run(_measure(int(arguments[0]) if arguments else AGENTS))


async def _measure(count: int) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * count + 1024, _hard_limit()), _hard_limit()))
    with tempfile.TemporaryDirectory(prefix="skyward-bench-") as directory:
        cloud = FakeCloud(SystemClockOfCloud(), boot_s=0.5, latency_s=0.05, deletion_s=0.5)  # type: ignore[arg-type]
        async with _hosts() as hosts:

            async def side(store: Any, cache: ObjectCache, _: FakeCloud, clock: SteadyClock, ids: SystemIds) -> Side:
                made = await gateway_side(Path(directory), store, cache, clock, ids, _Elsewhere(hosts))
                await made.credentials.add_user("admin", _TOKEN)  # type: ignore[attr-defined]
                return made

            async with operator(Path(directory), cloud, side, _nothing) as place:
                return await _crowd(place, count)


async def _crowd(place: Place, count: int) -> dict[str, Any]:
    await asyncio.sleep(1.0)
    before_mb = _settled_mb()
    place.save("crowd", count)
    joined_s = await place.until(f"{count} ready nodes", lambda: _ready(place) == count, 300.0)
    await asyncio.sleep(5.0)
    idle_mb = _settled_mb()
    cpu, writes = time.process_time(), place.store.writes
    await asyncio.sleep(IDLE_S)
    idle_cpu_s = time.process_time() - cpu
    idle_writes = place.store.writes - writes
    cpu = time.process_time()
    latencies = await _call(place)
    return {
        "goals": GOALS,
        "agents": count,
        "joined_s": round(joined_s, 1),
        "operator_kb_per_idle_agent": round((idle_mb - before_mb) * 1024 / count, 1),
        "operator_rss_before_mb": before_mb,
        "operator_rss_idle_mb": idle_mb,
        "idle_cpu_percent": round(100 * idle_cpu_s / IDLE_S, 2),
        "idle_cpu_us_per_agent_and_s": round(1e6 * idle_cpu_s / IDLE_S / count, 1),
        "idle_transactions": idle_writes,
        "calls_per_s": PER_SECOND,
        "lease_p50_ms": _percentile(latencies, 0.50),
        "lease_p99_ms": _percentile(latencies, 0.99),
        "lease_max_ms": _percentile(latencies, 1.0),
        "cpu_ms_per_call": round(1e3 * (time.process_time() - cpu) / CALLS, 3),
    }


class _Elsewhere(QuickBootstrapper):
    """Starts agents in the host processes, in turn."""

    def __init__(self, hosts: list[asyncio.subprocess.Process]) -> None:
        super().__init__()
        self._hosts = hosts
        self._started = 0

    async def _serve(self, identity: dict[str, Any]) -> None:
        to = self._hosts[self._started % len(self._hosts)].stdin
        self._started += 1
        assert to is not None
        to.write(json.dumps(identity).encode() + b"\n")
        await to.drain()


@asynccontextmanager
async def _hosts() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    started = [
        await asyncio.create_subprocess_exec(sys.executable, str(_HOST), stdin=asyncio.subprocess.PIPE)
        for _ in range(HOSTS)
    ]
    try:
        yield started
    finally:
        for one in started:
            assert one.stdin is not None
            one.stdin.close()
        for one in started:
            await one.wait()


async def _call(place: Place) -> list[float]:
    """Seconds from the send of each call to its receipt by an agent."""
    results: asyncio.Queue[float] = asyncio.Queue()
    welcomed = asyncio.Event()

    def hear(message: object) -> None:
        match message:
            case ClientWelcome():
                welcomed.set()
            case Results(said):
                for one in said:
                    results.put_nowait(float(one.value))
            case Refused():
                raise RuntimeError(f"a call was refused: {message.message}")

    connection = FrameConnection(hear)
    host, port = place.link.address  # type: ignore[attr-defined]
    context = ssl.create_default_context(cadata=(place.directory / "keys" / "ca.pem").read_text())
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: connection, host, port, ssl=context, server_hostname=SERVER_NAME)
    connection.send(ClientHello(_TOKEN, f"{sys.version_info[0]}.{sys.version_info[1]}"))
    await welcomed.wait()
    digest = hashlib.sha256(_FUNCTION).hexdigest()
    connection.send(PutFunction(digest, _FUNCTION))
    began = loop.time()
    for number in range(CALLS):
        await asyncio.sleep(max(0.0, began + number / PER_SECOND - loop.time()))
        at = b"%.6f" % time.monotonic()
        connection.send(Submit(number + 1, f"call-{number}", "default", "crowd", "run", digest, "noop", (at,)))
    async with asyncio.timeout(60.0):
        found = [await results.get() for _ in range(CALLS)]
    connection.close()
    return found


def _ready(place: Place) -> int:
    return sum(is_true(node.status.conditions, NodeCondition.READY) for node in place.nodes())


def _settled_mb() -> float:
    gc.collect()
    return rss_mb()


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def _hard_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


async def _nothing(place: Place) -> None:
    return None
