"""The same questions, put to one system after the other: it has two workers, each of which runs one call at a time.

Standard library only: this runs in the peers' environment too.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from hack.benches.peers import processes
from hack.benches.peers.work import echo, length, noop

TASKS = 5_000
ROUND_TRIPS = 2_000
TIMES = 3
"""What is not a distribution by itself is measured so often; the median counts."""
PAYLOAD_MB = 64
_WARM_UP = 200
_SETTLE_S = 1.0

Note = Callable[[str, Any], None]
"""Keeps one figure: what was measured before something hangs is not lost."""


class System(Protocol):
    """Made by `start`, gone with `close`. Calls come from one thread."""

    def start(self) -> None: ...

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any: ...

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        """By the system's own call for many items; every item is a call of its own, none are bundled by the caller."""
        ...

    def submit_all(self, function: Callable[..., Any], count: int) -> list[Any]:
        """So many separate submissions, then their results."""
        ...

    def close(self) -> None: ...


def measure(system: System, note: Note) -> None:
    """Everything, from nothing to nothing."""
    try:
        start(system, note)
        calls(system, note)
        payloads(system, note)
    finally:
        system.close()


def start(system: System, note: Note) -> None:
    begin = time.perf_counter()
    system.start()
    system.run(noop)
    note("start_s", round(time.perf_counter() - begin, 2))


def calls(system: System, note: Note) -> None:
    system.map(noop, range(_WARM_UP))
    times = sorted(timed(lambda: system.run(noop)) * 1e3 for _ in range(ROUND_TRIPS))
    note("round_trip_p50_ms", round(statistics.median(times), 3))
    note("round_trip_p99_ms", round(times[int(ROUND_TRIPS * 0.99)], 3))
    note("map_per_s", rate(lambda: system.map(noop, range(TASKS))))
    note("submit_per_s", rate(lambda: system.submit_all(noop, TASKS)))
    time.sleep(_SETTLE_S)
    found = processes.others()
    note("processes", len(found))
    note("resident_mb", round(sum(map(processes.pss_mb, found)), 1))


def payloads(system: System, note: Note) -> None:
    """MB/s of 64 MB to a worker, and of 64 MB to it and back (128 MB). New bytes each time: some remember those they know."""
    up, there_and_back = [], []
    for _ in range(TIMES):
        data = os.urandom(PAYLOAD_MB << 20)
        up.append(timed(partial(_send, system, data)))
        there_and_back.append(timed(partial(_exchange, system, data)))
    note("up_64mb_mb_per_s", round(PAYLOAD_MB / statistics.median(up), 1))
    note("echo_64mb_mb_per_s", round(2 * PAYLOAD_MB / statistics.median(there_and_back), 1))


def _send(system: System, data: bytes) -> None:
    _check(system.run(length, data) == len(data))


def _exchange(system: System, data: bytes) -> None:
    _check(len(system.run(echo, data)) == len(data))


def rate(work: Callable[[], list[Any]], tasks: int = TASKS) -> int:
    """Tasks a second."""
    return round(tasks / statistics.median(timed(lambda: _check(len(work()) == tasks)) for _ in range(TIMES)))


def timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _check(is_right: bool) -> None:
    if not is_right:
        raise RuntimeError("an answer is wrong: its time is worth nothing")
