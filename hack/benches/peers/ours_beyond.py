"""What is only asked of Skyward: calls through an SSH tunnel, its memory while a gigabyte passes, its speed with much queued."""

from __future__ import annotations

import os
import statistics
import threading
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from hack.benches.peers.figures import PAYLOAD_MB, TIMES, Note, timed
from hack.benches.peers.ours import Skyward
from hack.benches.peers.ours_apart import SkywardApart
from hack.benches.peers.processes import rss_mb
from hack.benches.peers.work import echo, length, noop
from hack.operator_process import wait_for

GIGABYTE = 1024 // PAYLOAD_MB
DEPTHS = (200, 2_000, 20_000, 100_000)
MEASURED = 20_000
_TUNNEL_TRIPS = 1_000
_LOOK_S = 0.01
_BEHIND, _BEFORE = -100, 100


def measure_it(directory: Path, note: Note) -> None:
    _tunnelled(directory / "tunnel", note)
    _gigabyte(directory / "gigabyte", note)
    _depths(directory / "depths", note)


def _tunnelled(directory: Path, note: Note) -> None:
    """One node behind a reverse forward of its SSH connection, over loopback."""
    system = SkywardApart(directory, pool="tunnel", connection="tunnel", nodes=1)
    try:
        system.start()
        for _ in range(100):
            system.run(noop)
        times = sorted(timed(lambda: system.run(noop)) * 1e3 for _ in range(_TUNNEL_TRIPS))
        note("tunnel_round_trip_p50_ms", round(statistics.median(times), 3))
        note("tunnel_round_trip_p99_ms", round(times[int(_TUNNEL_TRIPS * 0.99)], 3))
        data = [os.urandom(PAYLOAD_MB << 20) for _ in range(TIMES)]
        seconds = statistics.median(timed(partial(system.run, length, one)) for one in data)
        note("tunnel_up_64mb_mb_per_s", round(PAYLOAD_MB / seconds, 1))
    finally:
        system.close()


def _gigabyte(directory: Path, note: Note) -> None:
    """The operator's resident memory while 1 GB goes to the nodes and comes back, all of it through its sockets."""
    system = SkywardApart(directory)
    try:
        system.start()
        system.run(echo, os.urandom(PAYLOAD_MB << 20))
        note("operator_rss_before_1gb_mb", round(rss_mb(system.operator.pid), 1))
        with Peak(system.operator.pid) as peak:
            for _ in range(GIGABYTE):
                system.run(echo, os.urandom(PAYLOAD_MB << 20))
        note("operator_rss_peak_1gb_mb", round(peak.mb, 1))
        note("operator_rss_after_1gb_mb", round(rss_mb(system.operator.pid), 1))
    finally:
        system.close()


def _depths(directory: Path, note: Note) -> None:
    """Tasks a second of a map while so many others wait behind it: all are submitted to a held pool, which is then let go."""
    system = Skyward(directory)
    try:
        system.start()
        system.map(noop, range(MEASURED))
        found = {}
        for depth in DEPTHS:
            found[str(depth)] = _drain_rate(system, depth)
            note("map_per_s_with_queued", dict(found))
    finally:
        system.close()


def _drain_rate(system: Skyward, depth: int) -> int:
    """Rate from the first answer to the last: how long the pool takes to be let go is not counted."""
    _hold(system, "held")
    behind = system.pool.options(priority=_BEHIND).executor()
    before = system.pool.options(priority=_BEFORE).executor()
    behind.map(noop, range(depth))
    results = before.map(noop, range(MEASURED))
    wait_for(f"{depth + MEASURED} queued items", lambda: _queued(system) == depth + MEASURED)
    _hold(system, "open")
    next(results)
    begin = time.perf_counter()
    answered = sum(1 for _ in results)
    seconds = time.perf_counter() - begin
    behind.shutdown(cancel_futures=True)
    wait_for("an empty queue", lambda: _queued(system) == 0)
    return round(answered / seconds)


def _hold(system: Skyward, queue: str) -> None:
    objects = system.operator.objects
    objects.patch("pools", "default", system.name, {"spec": {"queue": queue}})
    wait_for(
        f"the pool's queue to be {queue}",
        lambda: (
            (pool := objects.get("pools", "default", system.name))["spec"].get("queue", "open") == queue
            and pool["status"]["observedGeneration"] == pool["metadata"]["generation"]
        ),
    )


def _queued(system: Skyward) -> int:
    tasks = system.operator.objects.list("tasks", namespace="default")["items"]
    return sum(task["status"]["items"]["queued"] for task in tasks)


class Peak(AbstractContextManager["Peak"]):
    """The highest resident memory of a process meanwhile, looked at a hundred times a second."""

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            self.mb = max(self.mb, rss_mb(self._pid))
