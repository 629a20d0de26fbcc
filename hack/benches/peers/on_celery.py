"""Celery with Redis as broker and for results, both in memory only; one worker with two processes (prefork, its default)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hack.benches.peers.figures import Note, measure
from hack.benches.peers.work import noop

_PATIENCE_S = 30.0
"""A worker that is dead would be waited for without an end."""
_ROOT = Path(__file__).resolve().parents[3]


class Celery:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        port = _free_port()
        os.environ["SKYWARD_BENCH_REDIS"] = f"redis://127.0.0.1:{port}/0"
        redis = [os.environ["SKYWARD_BENCH_REDIS_SERVER"], "--bind", "127.0.0.1", "--port", str(port)]
        redis += ["--save", "", "--appendonly", "no", "--dir", str(self._directory)]
        libraries = os.environ.get("SKYWARD_BENCH_REDIS_LIBRARIES")
        self._begin(redis, {"LD_LIBRARY_PATH": libraries} if libraries else {})
        _await_port(port)
        from celery import group  # its own import reads the address that is known now

        from hack.benches.peers.celery_app import TASKS

        self._group, self._tasks = group, TASKS
        worker = ["-m", "celery", "-A", "hack.benches.peers.celery_app", "worker", "--concurrency", "2"]
        quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        self._begin([sys.executable, *worker, *quiet], {"C_FORCE_ROOT": "1"})  # its pickles come from us alone
        self.run(noop)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._tasks[function].apply_async(arguments).get(timeout=_PATIENCE_S)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self._group(self._tasks[function].s(item) for item in items).apply_async().get(timeout=_PATIENCE_S))

    def submit_all(self, function: Callable[..., Any], count: int) -> list[Any]:
        return [result.get(timeout=_PATIENCE_S) for result in [self._tasks[function].delay() for _ in range(count)]]

    def close(self) -> None:
        for process in reversed(self._started):
            process.terminate()
            process.wait(_PATIENCE_S)

    def _begin(self, argv: Sequence[str], extra: dict[str, str]) -> None:
        self._started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, cwd=_ROOT, env=os.environ | extra))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def measure_it(directory: Path, note: Note) -> None:
    measure(Celery(directory), note)
