"""The ways to call a pool, with real agents and real worker processes: one operator and one pool for all of these."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, wait
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess, wait_for
from skyward.errors import FunctionNotLoadable
from tests.e2e.pools import manifest

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    process = OperatorProcess(tmp_path_factory.mktemp("faces") / "sky ward")
    process.start()
    try:
        process.save("hello.yaml", manifest(nodes=2, concurrency=2))
        process.wait_ready("hello", 2)
        yield process
    finally:
        process.clean_up()


@pytest.fixture
def pool(running: OperatorProcess) -> Iterator[sky.PoolHandle]:
    with sky.connect(running.config) as session:
        yield session.pool("hello")


def skyctl(operator: OperatorProcess, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("skyctl")), "--kubeconfig", str(operator.config), *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def task_name(operator: OperatorProcess, called: str) -> str:
    tasks = operator.objects.list("tasks", "default")["items"]
    (name,) = (task["metadata"]["name"] for task in tasks if task["metadata"]["name"].startswith(f"{called}-"))
    return str(name)


prepared: list[str] = []


def prepare(log: str) -> None:
    prepared.append("ready")
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")


def what_was_prepared(_: int) -> tuple[int, list[str]]:
    return os.getpid(), prepared


def also_prepared(_: int) -> list[str]:
    return list(prepared)


def fail_to_prepare() -> None:
    raise LookupError("no scratch disk")


def test_the_initializer_runs_once_in_each_worker_process(pool: sky.PoolHandle, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pool.executor(initializer=prepare, initargs=(str(log),)) as executor:
        futures = [executor.submit(what_was_prepared, n) for n in range(40)]
        others = list(executor.map(also_prepared, range(40)))
        wait(futures)

    assert {tuple(future.result()[1]) for future in futures} == {("ready",)}
    assert others == [["ready"]] * 40
    started = log.read_text().split()
    assert len(started) == len(set(started)) <= 4


def test_an_initializer_that_fails_breaks_the_executor(pool: sky.PoolHandle) -> None:
    executor = pool.executor(initializer=fail_to_prepare)

    with pytest.raises(BrokenExecutor, match="fail_to_prepare failed on a node: LookupError: no scratch disk"):
        executor.submit(what_was_prepared, 1).result(60)


def helper_module(path: Path) -> Any:
    (path / "own_helpers.py").write_text("def triple(x):\n    return 3 * x\n")
    spec = importlib.util.spec_from_file_location("own_helpers", path / "own_helpers.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["own_helpers"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_module_that_the_node_lacks_is_named_and_can_be_sent_along(pool: sky.PoolHandle, tmp_path: Path) -> None:
    module = helper_module(tmp_path)

    with pytest.raises(FunctionNotLoadable, match=r"module 'own_helpers' is not installed.*spec.image.pip.*modules="):
        pool.run(module.triple, 2)

    assert pool.options(modules=["own_helpers"]).run(module.triple, 2) == 6


def test_a_task_has_its_own_environment(pool: sky.PoolHandle) -> None:
    assert pool.options(env={"COLOUR": "red"}).run(os.getenv, "COLOUR") == "red"
    assert pool.run(os.getenv, "COLOUR") is None


def talk(rounds: int) -> None:
    for n in range(rounds):
        print(f"out {n}")
        print(f"err {n}", file=sys.stderr)


def test_a_log_is_in_order_and_can_be_read_in_parts(running: OperatorProcess, pool: sky.PoolHandle) -> None:
    future = pool.options(name="talk").submit(talk, 50)
    future.result(60)
    name = task_name(running, "talk")
    lines = [line for n in range(50) for line in (f"out {n}", f"err {n}")]

    wait_for("the whole log", lambda: skyctl(running, "logs", name).stdout.splitlines() == lines, 20)
    assert skyctl(running, "logs", "-f", name, "--tail", "3").stdout.splitlines() == lines[-3:]
    assert skyctl(running, "logs", name, "--since", "1h").stdout.splitlines() == lines
    assert skyctl(running, "logs", name, "-p").stdout == ""
    assert "leave out -f" in skyctl(running, "logs", name, "-p", "-f").stderr


def die_once(mark: str) -> str:
    print("attempt", "two" if Path(mark).exists() else "one", flush=True)
    if not Path(mark).exists():
        Path(mark).touch()
        os._exit(3)
    return "done"


def test_the_log_of_the_previous_attempt(running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path) -> None:
    assert pool.options(name="die").run(die_once, str(tmp_path / "mark")) == "done"
    name = task_name(running, "die")

    wait_for("both logs", lambda: "attempt two" in skyctl(running, "logs", name).stdout, 20)
    assert skyctl(running, "logs", name, "-p").stdout == "attempt one\n"


def test_several_items_are_told_apart(running: OperatorProcess, pool: sky.PoolHandle) -> None:
    list(pool.options(name="items").map(lambda n: print("here", n), range(3)))
    name = task_name(running, "items")

    def shown() -> list[str]:
        return sorted(re.sub(r"hello-\S+", "NODE", line) for line in skyctl(running, "logs", name).stdout.splitlines())

    wait_for("the log", lambda: shown() == [f"[NODE item {n}] here {n}" for n in range(3)], 20)
    assert skyctl(running, "logs", name, "--item", "1").stdout == "here 1\n"


WAITER = """
import sys, time, skyward as sky
def work():
    time.sleep(2)
    return 42
with sky.connect({config!r}) as session:
    future = session.pool("hello").submit(work)
    print(future.task_id(), flush=True)
    future.result()
"""
RUNNER = """
import sys, time, skyward as sky
with sky.connect({config!r}) as session:
    print("calling", flush=True)
    session.pool("hello").options(name="interrupted").run(time.sleep, 600)
"""


def script(operator: OperatorProcess, tmp_path: Path, text: str) -> subprocess.Popen[str]:
    file = tmp_path / "script.py"
    file.write_text(text.format(config=str(operator.config)))
    return subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_client_that_is_killed_while_it_waits_loses_nothing(
    running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path
) -> None:
    process = script(running, tmp_path, WAITER)
    assert process.stdout is not None
    id = process.stdout.readline().strip()
    process.kill()
    process.communicate(timeout=10)

    with sky.connect(running.config) as session:
        assert session.task(id).result(60) == 42
        assert session.task(task_name(running, "work")).result(60) == 42


def test_an_interrupt_cancels_the_call(running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path) -> None:
    process = script(running, tmp_path, RUNNER)
    assert process.stdout is not None
    process.stdout.readline()

    def phase() -> str:
        tasks = running.objects.list("tasks", "default")["items"]
        found = [task for task in tasks if task["metadata"]["name"].startswith("interrupted-")]
        return str(found[0]["status"]["phase"]) if found else ""

    wait_for("the call to run", lambda: phase() == "Running", 30)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    wait_for("the call to be cancelled", lambda: phase() == "Cancelled", 20)


def test_the_examples_of_the_guide_are_true(running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    file = tmp_path / "guide.py"
    file.write_text("\n".join(block for block in blocks if "sklearn" not in block))
    assert len(blocks) == 7

    done = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "SKYWARD_CONFIG": str(running.config)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
