"""Calls through the durable queue of a real operator, and through the systems that people use today: one after the other, each in
processes and a directory of its own, on loopback, all with two workers and the same functions."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hack.benches.peers.environment import ROOT, Missing, python_of_peers, redis
from hack.benches.peers.processes import MARK, end_all
from hack.benches.peers.table import OURS, ratios, render

GOALS = {
    "round_trip_p50_ms": 1.0,
    "round_trip_p99_ms": 3.0,
    "round_trip_p50_of_ray": 0.6,
    "map_per_s": 8_000,
    "map_of_ray": 4.0,
    "submit_per_s": 3_000,
    "64mb_mb_per_s": {"sockets": 200, "same_host_by_file": 400},
    "tunnel": {"round_trip_p50_ms": 2.0, "up_64mb_mb_per_s": 120},
}
_OWN = {OURS: "ours", "skyward, sockets": "ours_apart", "process pool": "on_processes"}
_PEERS = {"ray": "on_ray", "dask": "on_dask", "celery": "on_celery"}
_BEYOND = "ours_beyond"
_LIMIT_S = 240.0
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1", "RAY_worker_niceness": "0"}
"""No telemetry; and Ray's workers run at everybody's priority."""

Figures = dict[str, Any]


def dispatch(arguments: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="hack/bench dispatch", description="Calls and tasks per second.")
    parser.add_argument("--peers", action="store_true", help="Ray, Dask and Celery beside it, installed into .cache")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):  # ignored in a shell's background, and then nothing would be ended
        signal.signal(number, _interrupt)
    systems = {name: measure(module, sys.executable) for name, module in _OWN.items()}
    if options.peers:
        systems |= {name: _measure_peer(module) for name, module in _PEERS.items()}
    beyond = measure(_BEYOND, sys.executable)
    print(render(systems), file=sys.stderr)
    return {
        "goals": GOALS,
        "systems": systems,
        "ours_divided_by": ratios(systems),
        "ours_beyond": beyond,
    }


def measure(module: str, python: str | Path, extra: Mapping[str, str] = MappingProxyType({})) -> Figures:
    """What it found out in its time; `left_out` says what ended it early. Nothing of it is left running."""
    directory = Path(tempfile.mkdtemp(prefix="sky-"))  # short: there are sockets with a path in here
    figures, log = directory / "figures.jsonl", directory / "log"
    environment = os.environ | _QUIET | dict(extra)
    if module in _PEERS.values():
        environment["HOME"] = str(directory)  # so that none of them writes into the user's
    environment |= {
        MARK: str(directory),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "operator", ROOT / "agent"))),
    }
    argv = [str(python), "-m", "hack.benches.peers.one", module, str(figures)]
    load = os.getloadavg()[0]
    print(f"measuring {module} …", file=sys.stderr)
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        problem = _how_it_ended(process)
    finally:
        end_all(str(directory), process.pid)
    found = _read(figures) | {"load_before": round(load, 2)}
    if problem:
        found["left_out"] = f"{problem}: see {log}"
    else:
        shutil.rmtree(directory)
    return found


def _measure_peer(module: str) -> Figures:
    try:
        python = python_of_peers()
        extra: dict[str, str] = {}
        if module == "on_celery":
            server = redis()
            extra["SKYWARD_BENCH_REDIS_SERVER"] = str(server.server)
            if server.libraries is not None:
                extra["SKYWARD_BENCH_REDIS_LIBRARIES"] = str(server.libraries)
    except Missing as missing:
        print(f"left out: {module}: {missing}", file=sys.stderr)
        return {"left_out": str(missing)}
    return measure(module, python, extra)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """Empty when all is well."""
    try:
        status = process.wait(_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return f"took more than {_LIMIT_S:.0f} s"
    return "" if status == 0 else f"ended with status {status}"


def _read(figures: Path) -> Figures:
    found: Figures = {}
    if figures.exists():
        for line in figures.read_text().splitlines():
            found |= json.loads(line)
    if "import_s" in found and "start_s" in found:
        found["startup_s"] = round(found["import_s"] + found["start_s"], 2)
    return found
