"""The service manager of the run: starts the operator, and starts it again whenever it is gone, at the same addresses."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.children import end, spawn
from tests.chaos.place import Place, append
from tests.chaos.stage import Actor

AGENT_LEASE_S = 6.0
"""Short, so that a minute holds stops that are longer."""
ABSENCE_S = 4.0
_POLL_S = 2.0
_PORTS = (20_000, 32_000)
"""Below those that the kernel hands out: a client that dials a dead operator must not get its port."""
_STOP_S = 20.0


class Supervisor:
    def __init__(self, place: Place, rng: random.Random) -> None:
        self._place = place
        self._listen, self._tasks = (f"127.0.0.1:{port}" for port in _free_ports(rng))
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    @property
    def pid(self) -> int | None:
        """None while it is dead."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def serves(self) -> bool:
        """Whether the newest operator got so far: it writes its configuration once it serves."""
        config = self._place.config
        return config.exists() and config.stat().st_mtime >= self._started_at

    def watch(self) -> Actor:
        while True:
            if self.pid is None:
                self._start()
            yield 0.3

    def stop(self) -> None:
        """SIGTERM, and write down how it ended."""
        if self._process is None or self._process.poll() is not None:
            return
        begin = time.monotonic()
        self._process.terminate()
        try:
            status = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            append(self._place.actions, "gave up", what="the operator did not stop", after_s=_STOP_S, seen="SIGTERM")
            return
        seconds = round(time.monotonic() - begin, 1)
        append(self._place.actions, "stopped", status=status, seconds=seconds)

    def end(self) -> None:
        if self._process is not None:
            end(self._process)

    def _start(self) -> None:
        if self._process is not None:
            append(self._place.actions, "operator ended", status=self._process.returncode, served=self.serves())
        place = self._place
        argv: list[str | Path] = [Path(sys.executable).with_name("skyward-operator"), "run"]
        argv += ["--manifests", place.manifests, "--state", place.state, "--kubeconfig", place.config]
        options = ["--listen", self._listen, "--tasks", self._tasks]
        environment = os.environ | {
            "SKYWARD_CACHE": str(place.root / "cache"),
            "SKYWARD_CONTROLLERS__AGENT_LEASE_S": str(AGENT_LEASE_S),
            "SKYWARD_INTAKE__ABSENCE_S": str(ABSENCE_S),
            "SKYWARD_INTAKE__POLL_S": str(_POLL_S),
        }
        self._started_at = time.time()
        self._process = spawn([*argv, *options], log=place.operator_log, cwd=place.root, env=environment)
        append(place.actions, "operator started", pid=self._process.pid)


def keep_running(start: Callable[[], subprocess.Popen[bytes]], keep: list[subprocess.Popen[bytes]]) -> Actor:
    """Another program that is started again whenever it fails; the newest process is the last of `keep`."""
    while True:
        if not keep or keep[-1].poll() not in (None, 0):
            keep.append(start())
        yield 0.3


def _free_ports(rng: random.Random) -> list[int]:
    found: list[int] = []
    while len(found) < 2:
        port = rng.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
