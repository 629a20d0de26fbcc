"""The comparison with peers: it stays apart from the product, and its table says what is so."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hack.benches.peers import processes
from hack.benches.peers.table import OURS, ratios, render

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "hack" / "benches" / "peers"
THEIRS = ("celery", "dask", "distributed", "ray", "redis")

SYSTEMS: dict[str, dict[str, Any]] = {
    OURS: {"round_trip_p50_ms": 0.9, "map_per_s": 8_000, "load_before": 0.5},
    "ray": {"round_trip_p50_ms": 1.8, "map_per_s": 2_000, "load_before": 0.1},
    "celery": {"left_out": "no redis-server on the PATH"},
}


def named_in(lock: Path) -> set[str]:
    return {line.partition("==")[0] for line in lock.read_text().splitlines() if "==" in line}


def test_no_peer_is_a_dependency_of_the_product() -> None:
    assert named_in(ROOT / "requirements.lock").isdisjoint(THEIRS)
    assert named_in(PEERS / "requirements.txt").issuperset(THEIRS)


@pytest.mark.parametrize("name", ["figures", "one", "processes", "work"])
def test_what_measures_the_peers_needs_nothing_but_the_standard_library(name: str) -> None:
    for node in ast.walk(ast.parse((PEERS / f"{name}.py").read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        strange = [name for name in names if not name.startswith("hack.benches.peers")]
        assert {name.partition(".")[0] for name in strange} <= sys.stdlib_module_names


SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
LEADS = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]], env={})
subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
"""


def test_every_process_of_a_measurement_is_found_and_ended(tmp_path: Path) -> None:
    """The one that leads, one that only shares its session, one that only has the mark, one with a home below."""
    marked = os.environ | {processes.MARK: str(tmp_path)}
    argv = [sys.executable, "-c", LEADS + SLEEPS, SLEEPS]
    leader = subprocess.Popen(argv, env=marked, start_new_session=True, stdout=subprocess.PIPE)
    node = subprocess.Popen([sys.executable, "-c", SLEEPS], env={"HOME": f"{tmp_path}/node"}, stdout=subprocess.PIPE)
    assert leader.stdout is not None
    assert node.stdout is not None
    started = [int(leader.stdout.readline()) for _ in range(3)] + [int(node.stdout.readline())]
    try:
        assert sorted(processes.processes_of(str(tmp_path), leader.pid)) == sorted(started)

        processes.end_all(str(tmp_path), leader.pid)

        assert processes.processes_of(str(tmp_path), leader.pid) == []
        assert leader.wait(10) == node.wait(10) == -signal.SIGKILL
    finally:
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        leader.communicate()
        node.communicate()


def test_ratios_are_ours_divided_by_the_peers() -> None:
    assert ratios(SYSTEMS) == {"ray": {"round_trip_p50_ms": 0.5, "map_per_s": 4.0}, "celery": {}}


def test_the_table_shows_what_was_left_out_and_why() -> None:
    lines = render(SYSTEMS).splitlines()

    assert lines[0].split() == [OURS, "ray", "celery"]
    assert "8,000" in lines[3]
    assert "2,000 (4)" in lines[3]
    assert "–" in lines[3]
    assert "celery: no redis-server on the PATH" in lines
