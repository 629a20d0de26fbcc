"""The agent by itself: how large its file is, how soon it is ready for work, and what it takes while it idles.

It runs from its file in a fresh home, against a gateway with real TLS in this process. A cold start is one that has to unpack the
file; the starts after it find that done, as after every restart of a node's agent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from skyward.bootstrap.agent_file import build_agent_file
from tests.agent.gateway import SERVER_NAME, Authority, StubGateway

GOALS = {"file_kb": 300, "start_ms": 150, "idle_mb": 30}
STARTS = 7
IDLE_S = 5.0


def agent(arguments: list[str]) -> dict[str, Any]:
    return asyncio.run(_measure())


async def _measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="skyward-bench-") as directory:
        home = Path(directory) / "home" / ".skyward"
        home.mkdir(parents=True)
        (home / "agent.pyz").write_bytes(build_agent_file())
        authority = Authority(Path(directory))
        times = [await _start(home, authority, idle=number == STARTS) for number in range(STARTS + 1)]
        first, *others = times
        last = others[-1]
        return {
            "goals": GOALS,
            "file_kb": round(len(build_agent_file()) / 1024, 1),
            "first_start_ms": round(first["hello_ms"], 1),
            "start_ms": round(statistics.median(one["hello_ms"] for one in others), 1),
            "ready_ms": round(statistics.median(one["ready_ms"] for one in others), 1),
            "idle_mb": round(last["agent_mb"], 1),
            "idle_child_mb": round(last["child_mb"], 1),
            "idle_cpu_percent": round(last["cpu_percent"], 2),
        }


async def _start(home: Path, authority: Authority, *, idle: bool) -> dict[str, float]:
    """Milliseconds from the start of the process to its greeting, and until its first child is warm."""
    gateway = StubGateway(authority)
    await gateway.start()
    identity = {"node": "uid", "name": "bench", "endpoint": f"127.0.0.1:{gateway.port}", "server_name": SERVER_NAME}
    (home / "agent.json").write_text(json.dumps({**identity, "ca": authority.pem, "join_token": "join"}))
    began = time.perf_counter()
    process = _spawn(home)
    try:
        await gateway.until(lambda: gateway.hellos, "a greeting")
        figures = {"hello_ms": 1e3 * (time.perf_counter() - began)}
        await gateway.until(lambda: gateway.is_ready, "a warm child")
        figures["ready_ms"] = 1e3 * (time.perf_counter() - began)
        return figures | (await _idle(process.pid) if idle else {})
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 10)
        await gateway.vanish()


async def _idle(pid: int) -> dict[str, float]:
    await asyncio.sleep(1.0)
    before = _cpu_s(pid)
    await asyncio.sleep(IDLE_S)
    child = _child_of(pid)
    cpu_percent = 100 * (_cpu_s(pid) - before) / IDLE_S
    return {"agent_mb": _memory_mb(pid), "child_mb": _memory_mb(child), "cpu_percent": cpu_percent}


def _spawn(home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(home / "agent.pyz"), "run", "--home", str(home)])


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
