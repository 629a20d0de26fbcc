"""The demonstration behind hack/demo: each step does the real thing and checks what it shows; any deviation exits 1."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

import skyward as sky

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hack.demo_board import NodeBoard  # noqa: E402
from hack.operator_process import Deviation, OperatorProcess, kill_all, phase_of, processes_of_nodes, wait_for  # noqa: E402

console = Console(highlight=False)
ITEMS = 1_000


def check(claim: bool, otherwise: str) -> None:
    if not claim:
        raise Deviation(otherwise)


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


class Demo:
    def __init__(self, directory: Path) -> None:
        self.operator = OperatorProcess(directory)
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        console.print(f"\n[bold cyan]▸ {title}[/]")
        begin = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - begin))

    def wait_ready(self, pool: str, count: int, timeout_s: float = 180) -> None:
        """Show the nodes' way through their phases until exactly `count` are there, all ready."""
        board = NodeBoard(console, lambda: self.operator.nodes(pool))

        def ready() -> bool:
            phases = [phase_of(node) for node in board.look()]
            return phases == ["Ready"] * count

        with board.shown():
            wait_for(f"{count} ready nodes of pool {pool}", ready, timeout_s)

    def mapped(self, pool: sky.PoolHandle, function: Callable[[int], int]) -> None:
        """Map over all items and check each result."""
        with _bar() as bar:
            results = self._results(pool, function, bar, lambda done: None)
        self._check_squares(results)

    def mapped_while(
        self, pool: sky.PoolHandle, function: Callable[[int], int], at_a_quarter: Callable[[], None]
    ) -> None:
        """The same, with the nodes below the bar and something that happens on the way."""
        bar = _bar()
        board = NodeBoard(console, lambda: self.operator.nodes(pool.name), above=bar)

        def on_result(done: int) -> None:
            if done == ITEMS // 4:
                at_a_quarter()
            board.glance()

        board.look()
        with board.shown():
            results = self._results(pool, function, bar, on_result)
        self._check_squares(results)

    def _results(
        self, pool: sky.PoolHandle, function: Callable[[int], int], bar: Progress, on_result: Callable[[int], None]
    ) -> list[int]:
        task = bar.add_task("  map", total=ITEMS)
        results: list[int] = []
        for result in pool.map(function, range(ITEMS)):
            results.append(result)
            bar.advance(task)
            on_result(len(results))
        return results

    def _check_squares(self, results: list[int]) -> None:
        check(results == [n * n for n in range(ITEMS)], "a result of the map is wrong, missing or out of order")
        console.print(f"  {ITEMS:,} of {ITEMS:,} results correct and in order")


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        elapsed = task.finished_time if task.finished_time is not None else task.elapsed
        return Text(f"{task.completed / elapsed:,.0f} items/s in {elapsed:.1f} s" if elapsed else "")


def _bar() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), console=console)


def run(demo: Demo, keep: bool) -> None:
    with demo.step("start an operator on an empty directory"):
        demo.operator.start()
        console.print(f"  operator {demo.operator.pid} watches {demo.operator.manifests}")
    hello = demo.operator.manifests / "hello.yaml"
    with demo.step("save hello.yaml: two local nodes"):
        shutil.copy(ROOT / "manifests" / "hello.yaml", hello)
        show_manifest(hello)
        demo.wait_ready("hello", 2)
    with sky.connect(demo.operator.config) as session:
        run_on(demo, session, hello)
        if keep:
            return
    with demo.step("delete the pools: every process and directory goes"):
        for pool in ("hello", "tunnel"):
            demo.operator.objects.delete("pools", "default", pool)
        demo.operator.wait_gone()
        left = demo.operator.leftovers()
        check(not left, f"left over: {left}")
        check(not list(demo.operator.manifests.glob("*.yaml")), "a manifest is left over")
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
        demo.mapped(pool, square)
    with demo.step("remote stdout arrives live"):
        check(pool.run(count_down, 3) == "done", "the function's result is wrong")
    with demo.step("a one-node pool behind a reverse SSH tunnel, and a map through it"):
        shutil.copy(ROOT / "manifests" / "local" / "tunnel.yaml", demo.operator.manifests / "tunnel.yaml")
        demo.wait_ready("tunnel", 1)
        demo.mapped(session.pool("tunnel"), square)
    with demo.step("kill -9 a node during a map: it finishes, the node is replaced"):
        victim = demo.operator.nodes("hello")[0]
        demo.mapped_while(pool, slow_square, lambda: kill_node(demo, victim))
        wait_for("the dead node's replacement", lambda: is_replaced(demo, victim))
        demo.operator.wait_ready("hello", 2)
    with demo.step("edit the file from 2 to 3 nodes"):
        text = hello.read_text()
        check("nodes: 2" in text, "hello.yaml does not say nodes: 2")
        hello.write_text(text.replace("nodes: 2", "nodes: 3"))
        console.print("  [red]- nodes: 2[/]\n  [green]+ nodes: 3[/]")
        demo.wait_ready("hello", 3)


def show_manifest(path: Path) -> None:
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            console.print(f"  [dim]│[/] {line}")


def kill_node(demo: Demo, node: dict[str, Any]) -> None:
    processes = processes_of_nodes(demo.operator.state, node["status"]["providerID"])
    check(bool(processes), "the node has no processes to kill")
    kill_all(processes)
    console.print(f"  killed the {len(processes)} processes of {node['metadata']['name']}")


def is_replaced(demo: Demo, node: dict[str, Any]) -> bool:
    return node["metadata"]["uid"] not in {other["metadata"]["uid"] for other in demo.operator.nodes("hello")}


def report(demo: Demo) -> None:
    table = Table(title="What it did", title_justify="left", show_header=False, box=None, padding=(0, 2))
    for title, seconds in demo.times:
        table.add_row(title, f"{seconds:6.1f} s")
    table.add_row("[bold]all[/]", f"[bold]{sum(seconds for _, seconds in demo.times):6.1f} s[/]")
    console.print()
    console.print(table)


def say_how_to_go_on(demo: Demo) -> None:
    skyctl = Path(sys.executable).with_name("skyctl")
    console.print(f"\nThe operator (pid {demo.operator.pid}) goes on. Use it:\n")
    console.print(f"  export SKYWARD_CONFIG='{demo.operator.config}'", soft_wrap=True)
    for words in (
        "get pools,nodes",
        "describe pool hello",
        "scale pool hello --nodes 1",
        "run -p hello -c 'print(6 * 7)'",
        "down --delete-manifests",
    ):
        console.print(f"  '{skyctl}' {words}", soft_wrap=True)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def clean_up(demo: Demo, *, with_logs: bool) -> None:
    """No process is left, whatever happened; the logs are, when they may tell why."""
    demo.operator.clean_up()
    if not with_logs:
        shutil.rmtree(demo.operator.directory, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the operator and its pools running")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, interrupt)
    demo = Demo(Path(tempfile.mkdtemp(prefix="skyward demo ")))
    try:
        run(demo, keep)
        report(demo)
    except KeyboardInterrupt:
        console.print("\ninterrupted; ending every process")
        clean_up(demo, with_logs=False)
        return 130
    except (Deviation, sky.errors.SkyError) as error:
        console.print(
            f"\n[bold red]deviation:[/] {escape(str(error))}\n  logs: {demo.operator.directory}", soft_wrap=True
        )
        clean_up(demo, with_logs=True)
        return 1
    except BaseException:
        clean_up(demo, with_logs=True)
        raise
    if keep:
        say_how_to_go_on(demo)
        return 0
    demo.operator.stop()
    shutil.rmtree(demo.operator.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
