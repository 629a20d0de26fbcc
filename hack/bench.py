"""The measurements behind hack/bench. Figures are printed, never asserted; peers run in the same process, on the same machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import skyward as sky
from skyward.bootstrap.agent_file import build_agent_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hack.operator_process import OperatorProcess, processes_of_nodes, wait_for  # noqa: E402

TASKS = 5_000
ROUND_TRIPS = 2_000
MANIFEST = """\
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {{name: {name}}}
spec: {{nodes: {nodes}, provider: local, connection: {connection}}}
"""


def noop(_: int = 0) -> None:
    return None


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


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


def dispatch(operator: OperatorProcess) -> dict[str, Any]:
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


def ready(operator: OperatorProcess) -> dict[str, Any]:
    """A local node from the saved file to Ready, one at a time and twenty at once, and from the delete to nothing left."""
    ones: list[float] = []
    for number in range(6):
        name = f"one-{number}"
        operator.save(f"{name}.yaml", MANIFEST.format(name=name, nodes=1, connection="auto"))
        ones.append(timed(lambda name=name: operator.wait_ready(name, 1)))  # type: ignore[misc]
        operator.objects.delete("pools", "default", name)
        operator.wait_gone()
    operator.save("twenty.yaml", MANIFEST.format(name="twenty", nodes=20, connection="auto"))
    twenty = timed(lambda: operator.wait_ready("twenty", 20, 300))
    operator.objects.delete("pools", "default", "twenty")
    gone = timed(lambda: wait_for("twenty nodes to be gone", lambda: not operator.leftovers(), 120))
    return {
        "first_node_s": round(ones[0], 2),
        "warm_node_p50_s": round(statistics.median(ones[1:]), 2),
        "twenty_nodes_s": round(twenty, 2),
        "twenty_nodes_gone_s": round(gone, 2),
        "agent_file_kb": round(len(build_agent_file()) / 1024, 1),
    }


def main() -> int:
    name = sys.argv[1]
    operator = OperatorProcess(Path(tempfile.mkdtemp(prefix="skyward-bench-")))
    try:
        operator.start()
        figures = {"dispatch": dispatch, "ready": ready}[name](operator)
    finally:
        operator.clean_up()
    shutil.rmtree(operator.directory)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"bench": name, "machine": machine, **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
