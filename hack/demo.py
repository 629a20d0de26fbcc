"""The demonstration behind hack/demo: each step does the real thing and checks what it shows; any deviation exits 1."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from skyward.client.objects import ObjectClient

import skyward as sky
from skyward.client.config import load_config

ROOT = Path(__file__).resolve().parents[1]
console = Console(highlight=False)
ITEMS = 1_000


class Deviation(Exception):
    """Something was not as it should be."""


def check(claim: bool, otherwise: str) -> None:
    if not claim:
        raise Deviation(otherwise)


def wait_for(what: str, ready: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        check(time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(0.05)


# --- functions that run on the nodes -------------------------------------------------------------------------------


def who_am_i() -> tuple[int, str, int]:
    import os
    import socket

    import skyward

    return skyward.node_info().rank, socket.gethostname(), os.getpid()


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    import time

    time.sleep(0.02)
    return number * number


def count_down(start: int) -> str:
    import time

    for number in range(start, 0, -1):
        print(f"  {number} …", flush=True)
        time.sleep(0.2)
    print("  lift-off", flush=True)
    return "done"


# --- what the demonstration looks at -------------------------------------------------------------------------------


def processes_of_nodes(state: Path, instance: str | None = None) -> dict[int, str]:
    """Processes of this demonstration's nodes, found by the mark in their environment and their home below `state`."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mark = next((v.decode().partition("=")[2] for v in variables if v.startswith(b"SKYWARD_INSTANCE=")), None)
        home = next((v.decode().partition("=")[2] for v in variables if v.startswith(b"HOME=")), "")
        if mark and home.startswith(str(state)) and instance in (None, mark):
            found[int(entry.name)] = mark
    return found


class Demo:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifests = directory / "manifests"
        self.state = directory / "state"
        self.config = directory / "config"
        self.operator: subprocess.Popen[bytes] | None = None
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        console.print(f"\n[bold cyan]▸ {title}[/]")
        begin = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - begin))

    # --- the operator ---

    def start_operator(self) -> None:
        self.manifests.mkdir(parents=True)
        log = (self.directory / "operator.log").open("ab")
        command = Path(sys.executable).with_name("skyward-operator")
        argv = [str(command), "run", "--manifests", str(self.manifests), "--state", str(self.state)]
        argv += ["--listen", "127.0.0.1:0", "--tasks", "127.0.0.1:0", "--kubeconfig", str(self.config)]
        self.operator = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for("the operator's configuration file", self._operator_is_up, 30)
        self.objects = ObjectClient(load_config(self.config))
        console.print(f"  operator {self.operator.pid} watches {self.manifests}")

    def _operator_is_up(self) -> bool:
        assert self.operator is not None
        check(self.operator.poll() is None, f"the operator ended; see {self.directory / 'operator.log'}")
        return self.config.exists()

    def stop_operator(self) -> None:
        if self.operator is not None and self.operator.poll() is None:
            self.operator.terminate()
            self.operator.wait(20)

    # --- pools and nodes ---

    def nodes(self, pool: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.objects.list("nodes", namespace="default")["items"]
        return [item for item in items if item["spec"]["pool"] == pool]

    def wait_ready(self, pool: str, count: int, timeout_s: float = 180) -> None:
        """Print each node's way through its phases until `count` of them are ready."""
        seen: dict[str, str] = {}

        def ready() -> bool:
            number = 0
            for node in self.nodes(pool):
                phase = phase_of(node)
                name = node["metadata"]["name"]
                number += phase == "Ready"
                if seen.get(name) != phase:
                    seen[name] = phase
                    console.print(f"  {name:<22} {phase}")
            return number == count and len(self.nodes(pool)) == count

        wait_for(f"{count} ready nodes of pool {pool}", ready, timeout_s)
        for node in self.nodes(pool):
            phases = ", ".join(f"{p['name']} {p['seconds']:.2f} s" for p in node["status"].get("phases", []))
            console.print(f"  [dim]{node['metadata']['name']}: {phases}[/]")

    def mapped(
        self,
        pool: sky.PoolHandle,
        function: Callable[[int], int],
        title: str,
        on_half: Callable[[], None] | None = None,
    ) -> None:
        with progress() as bar:
            task = bar.add_task(f"  {title}", total=ITEMS)
            results = []
            for result in pool.map(function, range(ITEMS)):
                results.append(result)
                bar.advance(task)
                if on_half is not None and len(results) == ITEMS // 4:
                    on_half()
        check(results == [n * n for n in range(ITEMS)], f"{title}: a result is wrong, missing or out of order")
        console.print(f"  {ITEMS} of {ITEMS} results correct and in order")


def phase_of(node: dict[str, Any]) -> str:
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
    if node["metadata"].get("deletionTimestamp"):
        return "Leaving"
    if node["status"].get("failure"):
        return "Failed"
    for phase in ("Ready", "Initialized", "Registered", "Bootstrapped", "Launched"):
        if conditions.get(phase) == "True":
            return phase
    return "Pending"


def progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def run(demo: Demo, keep: bool) -> None:
    with demo.step("start an operator on an empty directory"):
        demo.start_operator()
    hello = demo.manifests / "hello.yaml"
    with demo.step("save hello.yaml: two local nodes"):
        shutil.copy(ROOT / "manifests" / "hello.yaml", hello)
        demo.wait_ready("hello", 2)
    with sky.connect(demo.config) as session:
        run_on(demo, session, hello)
        if keep:
            return
    with demo.step("delete the pools: every process and directory goes"):
        for pool in ("hello", "tunnel"):
            demo.objects.delete("pools", "default", pool)
        wait_for("the pools to be gone", lambda: not demo.objects.list("pools", namespace="default")["items"])
        left = processes_of_nodes(demo.state)
        check(not left, f"processes are left over: {left}")
        homes = [path for path in (demo.state / "local").glob("*/instance.json")]
        check(not homes, f"node directories are left over: {homes}")
        check(not list(demo.manifests.glob("*.yaml")), "a manifest is left over")
        console.print("  no process, no directory, no manifest left")


def run_on(demo: Demo, session: sky.Session, hello: Path) -> None:
    pool = session.pool("hello")
    with demo.step("broadcast: one call on every node"):
        answers = pool.broadcast(who_am_i)
        for rank, host, pid in answers:
            console.print(f"  rank {rank} on {host}, pid {pid}")
        check([rank for rank, _, _ in answers] == [0, 1], "the ranks are not 0 and 1")
        check(len({pid for _, _, pid in answers}) == 2, "both ranks ran in one process")
    with demo.step(f"map over {ITEMS:,} items"):
        demo.mapped(pool, square, "map, direct")
    with demo.step("remote stdout arrives live"):
        check(pool.run(count_down, 3) == "done", "the function's result is wrong")
    with demo.step("a one-node pool behind a reverse SSH tunnel, and the same map through it"):
        shutil.copy(ROOT / "manifests" / "local" / "tunnel.yaml", demo.manifests / "tunnel.yaml")
        demo.wait_ready("tunnel", 1)
        demo.mapped(session.pool("tunnel"), square, "map, tunnel")
    with demo.step("kill -9 a node while a map runs: it finishes, the node is replaced"):
        victim = demo.nodes("hello")[0]
        demo.mapped(pool, slow_square, "map, one node dies", lambda: kill_node(demo, victim))
        wait_for("the dead node's replacement", lambda: is_replaced(demo, victim))
        demo.wait_ready("hello", 2)
    with demo.step("edit the file from 2 to 3 nodes"):
        text = hello.read_text()
        check("nodes: 2" in text, "hello.yaml does not say nodes: 2")
        hello.write_text(text.replace("nodes: 2", "nodes: 3"))
        demo.wait_ready("hello", 3)


def kill_node(demo: Demo, node: dict[str, Any]) -> None:
    processes = processes_of_nodes(demo.state, node["status"]["providerID"])
    check(bool(processes), "the node has no processes to kill")
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    console.print(f"  killed the {len(processes)} processes of {node['metadata']['name']}")


def is_replaced(demo: Demo, node: dict[str, Any]) -> bool:
    return node["metadata"]["uid"] not in {other["metadata"]["uid"] for other in demo.nodes("hello")}


def report(demo: Demo) -> None:
    table = Table(title="What it did", title_justify="left", show_header=False, box=None, padding=(0, 2))
    for title, seconds in demo.times:
        table.add_row(title, f"{seconds:6.1f} s")
    table.add_row("[bold]all[/]", f"[bold]{sum(seconds for _, seconds in demo.times):6.1f} s[/]")
    console.print()
    console.print(table)


def say_how_to_go_on(demo: Demo) -> None:
    skyctl = Path(sys.executable).with_name("skyctl")
    assert demo.operator is not None
    console.print(f"\nThe operator (pid {demo.operator.pid}) goes on. Use it:\n")
    console.print(f"  export SKYWARD_CONFIG='{demo.config}'", soft_wrap=True)
    for words in (
        "get pools,nodes",
        "describe pool hello",
        "scale pool hello --nodes 1",
        "run -p hello -c 'print(6 * 7)'",
        "down",
    ):
        console.print(f"  '{skyctl}' {words}", soft_wrap=True)


def clean_up(demo: Demo) -> None:
    demo.stop_operator()
    for pid in processes_of_nodes(demo.state):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the operator and its pools running")
    keep = parser.parse_args().keep
    demo = Demo(Path(tempfile.mkdtemp(prefix="skyward demo ")))
    kept = False
    try:
        run(demo, keep)
        report(demo)
        if keep:
            say_how_to_go_on(demo)
        kept = keep
        return 0
    except (Deviation, sky.SkyError) as error:
        console.print(f"\n[bold red]deviation:[/] {error}\n  logs: {demo.directory}")
        kept = False
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not kept:
            clean_up(demo)
            if sys.exc_info()[0] is None and len(demo.times) >= 8:
                shutil.rmtree(demo.directory)


if __name__ == "__main__":
    sys.exit(main())
