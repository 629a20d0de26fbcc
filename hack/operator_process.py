"""A real operator in a directory of its own: started, killed and started again by the demonstration, benchmarks and tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skyward.client.config import load_config
from skyward.client.objects import ObjectClient


class Deviation(Exception):
    """Something was not as it should be."""


def wait_for(what: str, ready: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise Deviation(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.03)


class OperatorProcess:
    """One operator with its manifests, state and configuration below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifests = directory / "manifests"
        self.state = directory / "state"
        self.config = directory / "config"
        self.log = directory / "operator.log"
        self.program: tuple[str, ...] = (str(Path(sys.executable).with_name("skyward-operator")),)
        self._process: subprocess.Popen[bytes] | None = None
        self._client: ObjectClient | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def objects(self) -> ObjectClient:
        """A client for the configuration as it is now."""
        if self._client is None:
            self._client = ObjectClient(load_config(self.config))
        return self._client

    def start(self, *, listen: str = "127.0.0.1:0", tasks: str = "127.0.0.1:0") -> None:
        """Returns once both listeners accept. Raises Deviation when the operator ends instead."""
        self.manifests.mkdir(parents=True, exist_ok=True)
        self.config.unlink(missing_ok=True)
        self._disconnect()
        argv = [*self.program, "run", "--manifests", str(self.manifests), "--state", str(self.state)]
        argv += ["--listen", listen, "--tasks", tasks, "--kubeconfig", str(self.config)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        wait_for("the operator's configuration file", self._is_up, 30)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise Deviation(f"the operator ended with status {self._process.returncode}; see {self.log}")
        return self.config.exists()

    def restart(self) -> None:
        """Start again at the same addresses, so that agents and clients find it."""
        config = load_config(self.config)
        self.start(listen=config.server.removeprefix("https://"), tasks=config.tasks)

    def kill(self) -> None:
        """`kill -9`: nothing is cleaned up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def wait_ended(self, timeout_s: float = 20) -> int:
        """The exit status, once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def stop(self) -> None:
        """Ask it to end, as a service manager would. Idempotent."""
        self._disconnect()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)

    def clean_up(self) -> None:
        """Stop it and kill what its nodes left. For the end of a test, whatever happened."""
        self._disconnect()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        for _ in range(50):  # what is just being started may escape one pass
            processes = processes_of_nodes(self.state)
            if not processes:
                return
            kill_all(processes)
            time.sleep(0.02)

    # --- what it made ---

    def save(self, name: str, text: str) -> None:
        self.manifests.mkdir(parents=True, exist_ok=True)
        (self.manifests / name).write_text(text)

    def nodes(self, pool: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.objects.list("nodes", namespace="default")["items"]
        return [item for item in items if item["spec"]["pool"] == pool]

    def ready_nodes(self, pool: str) -> list[dict[str, Any]]:
        return [node for node in self.nodes(pool) if phase_of(node) == "Ready"]

    def wait_ready(self, pool: str, count: int, timeout_s: float = 120) -> None:
        """Exactly `count` nodes, all of them ready."""
        wait_for(
            f"{count} ready nodes of pool {pool}",
            lambda: len(self.ready_nodes(pool)) == count == len(self.nodes(pool)),
            timeout_s,
        )

    def wait_gone(self, timeout_s: float = 120) -> None:
        wait_for(
            "the pools to be gone", lambda: not self.objects.list("pools", namespace="default")["items"], timeout_s
        )

    def leftovers(self) -> list[str]:
        """Processes and directories of nodes that still exist."""
        processes = [f"process {pid} of {mark}" for pid, mark in processes_of_nodes(self.state).items()]
        return processes + [str(path) for path in (self.state / "local").glob("*/instance.json")]


def phase_of(node: dict[str, Any]) -> str:
    """One word for where a node is on its way."""
    if node["metadata"].get("deletionTimestamp"):
        return "Leaving"
    if node["status"].get("failure"):
        return "Failed"
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
    for phase in ("Ready", "Initialized", "Registered", "Bootstrapped", "Launched"):
        if conditions.get(phase) == "True":
            return phase
    return "Pending"


def processes_of_nodes(state: Path, instance: str | None = None) -> dict[int, str]:
    """Processes of the nodes below `state`, found by the mark in their environment: pid → instance id."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            pairs = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        mark = environment.get("SKYWARD_INSTANCE")
        if mark and environment.get("HOME", "").startswith(str(state)) and instance in (None, mark):
            found[int(entry.name)] = mark
    return found


def kill_all(processes: dict[int, str]) -> None:
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
