"""No-op calls through the durable queue of a real operator; peers run in the same process, on the same machine."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import skyward as sky
from hack.benches.real import MANIFEST, real_operator, timed
from hack.operator_process import OperatorProcess, processes_of_nodes

TASKS = 5_000
ROUND_TRIPS = 2_000


def dispatch(arguments: list[str]) -> dict[str, Any]:
    with real_operator() as operator:
        return _dispatch(operator)


def noop(_: int = 0) -> None:
    return None


def round_trips(call: Callable[[], Any], count: int = ROUND_TRIPS) -> dict[str, float]:
    """p50 and p99 of one call after another, milliseconds."""
    for _ in range(100):
        call()
    times = sorted(timed(call) * 1_000 for _ in range(count))
    return {"p50_ms": round(statistics.median(times), 3), "p99_ms": round(times[int(count * 0.99)], 3)}


def per_second(work: Callable[[], Any]) -> int:
    return round(TASKS / timed(work))


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise LookupError(f"process {pid} has no resident memory")


def _dispatch(operator: OperatorProcess) -> dict[str, Any]:
    """No-op calls through the durable queue on two one-lane nodes, direct and tunnelled; a bare process pool beside it."""
    idle_mb = rss_mb(operator.pid)
    operator.save("bench.yaml", MANIFEST.format(name="bench", nodes=2, connection="direct"))
    operator.wait_ready("bench", 2)
    figures: dict[str, Any] = {"operator_rss_idle_mb": idle_mb}
    with sky.connect(operator.config) as session:
        pool = session.pool("bench")
        figures["round_trip"] = round_trips(lambda: pool.run(noop))
        figures["map_tasks_per_s"] = per_second(lambda: list(pool.map(noop, range(TASKS))))
        figures["submit_tasks_per_s"] = per_second(
            lambda: [f.result() for f in [pool.submit(noop) for _ in range(TASKS)]]
        )
        payload = b"x" * (48 * 1024 * 1024)
        seconds = min(timed(lambda: pool.run(len, payload)) for _ in range(3))
        figures["argument_48mb_mb_per_s"] = round(48 / seconds)
        operator.save("tunnel.yaml", MANIFEST.format(name="tunnel", nodes=1, connection="tunnel"))
        operator.wait_ready("tunnel", 1)
        tunnel = session.pool("tunnel")
        figures["tunnel_round_trip"] = round_trips(lambda: tunnel.run(noop), 500)
    figures["operator_rss_after_mb"] = rss_mb(operator.pid)
    figures["agent_rss_mb"] = sorted(rss_mb(pid) for pid in processes_of_nodes(operator.state) if is_agent(pid))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        figures["peer_process_pool"] = {
            "round_trip": round_trips(lambda: executor.submit(noop).result()),
            "map_tasks_per_s": per_second(lambda: list(executor.map(noop, range(TASKS)))),
        }
    return figures


def is_agent(pid: int) -> bool:
    return b"agent.pyz\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
