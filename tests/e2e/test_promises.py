"""What a call may ask for, on real nodes: each option of docs/tasks.md does what its row says when something really goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess, kill_all, processes_of_nodes, wait_for
from skyward import errors
from tests.e2e.pools import double, manifest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("promises")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    process = OperatorProcess(tmp_path_factory.mktemp("promises") / "sky ward")
    process.start()
    try:
        process.save("hello.yaml", manifest(nodes=1))
        process.wait_ready("hello", 1)
        yield process
    finally:
        process.clean_up()


@pytest.fixture
def pool(running: OperatorProcess) -> Iterator[sky.PoolHandle]:
    """One node with one lane."""
    with sky.connect(running.config) as session:
        yield session.pool("hello")


def skyctl(operator: OperatorProcess, *argv: str) -> str:
    command = [str(Path(sys.executable).with_name("skyctl")), "--kubeconfig", str(operator.config), *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tasks(operator: OperatorProcess, called: str) -> list[dict[str, Any]]:
    found = operator.objects.list("tasks", "default")["items"]
    return [task for task in found if task["metadata"]["name"].startswith(f"{called}-")]


def running_on(operator: OperatorProcess, called: str) -> bool:
    return any(task["status"]["items"]["running"] for task in tasks(operator, called))


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def note_and_wait(ledger: str, gate: str, word: str = "ran") -> str:
    with open(ledger, "a") as file:
        file.write(f"{word}\n")
    while not os.path.exists(gate):
        time.sleep(0.02)
    return word


def agent_of(operator: OperatorProcess, node: dict[str, Any]) -> int:
    (file,) = (operator.state / "local" / node["status"]["providerID"]).rglob("agent.pid")
    return int(file.read_text())


def test_at_most_once_is_not_run_again_when_its_agent_is_killed(
    running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path
) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    once = pool.options(delivery="at-most-once", name="once").submit(note_and_wait, str(ledger), str(gate))
    wait_for("it to run", lambda: bool(lines(ledger)))
    (node,) = running.nodes("hello")

    os.kill(agent_of(running, node), signal.SIGKILL)

    with pytest.raises((errors.ChildDied, errors.NodeLost)):
        once.result(60)
    gate.touch()
    assert pool.run(double, 4) == 8, "another agent took its place"
    assert lines(ledger) == ["ran"]


def refuse_twice(mark: str) -> int:
    with open(mark, "a") as file:
        file.write("x")
    if os.path.getsize(mark) < 3:
        raise ConnectionRefusedError("the service is down")
    return os.path.getsize(mark)


def test_an_exception_that_is_named_is_tried_again_and_another_is_not(pool: sky.PoolHandle, tmp_path: Path) -> None:
    calls = pool.options(retry_on=OSError, retry_backoff=0.1)
    assert calls.run(refuse_twice, str(tmp_path / "mark")) == 3

    with pytest.raises(ConnectionRefusedError):
        pool.options(retry_on=LookupError, retry_backoff=0.1).run(refuse_twice, str(tmp_path / "other"))
    assert (tmp_path / "other").read_text() == "x"


def die() -> None:
    os._exit(7)


def test_a_dead_letter_tells_each_attempt_with_its_evidence(running: OperatorProcess, pool: sky.PoolHandle) -> None:
    with pytest.raises(errors.ChildDied, match="given up after 2 attempts"):
        pool.options(name="poison", max_attempts=2).run(die)
    (task,) = tasks(running, "poison")
    name = task["metadata"]["name"]

    page, items, why = (
        skyctl(running, *words, name) for words in (("describe", "task"), ("get", "items"), ("why", "task"))
    )

    assert page.count("ChildDied") >= 2
    assert "DeadLetter" in page
    assert "status 7" in page
    assert [line.split()[:2] for line in items.splitlines()] == [["INDEX", "STATUS"], ["0", "DeadLetter"]]
    assert "given up" in why


def test_a_deadline_ends_what_still_waits(running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    first = pool.submit(note_and_wait, str(ledger), str(gate), "first")
    wait_for("it to run", lambda: lines(ledger) == ["first"])
    late = pool.options(deadline=1.0).submit(note_and_wait, str(ledger), str(gate), "late")

    with pytest.raises(errors.TaskTimedOut, match="its deadline"):
        late.result(30)
    gate.touch()

    assert first.result(30) == "first"
    assert pool.run(double, 2) == 4, "what was next on that lane has gone"
    assert lines(ledger) == ["first"]


def test_a_held_queue_gives_nothing_out_and_when_it_is_opened_the_most_urgent_goes_first(
    running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path
) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    gate.touch()

    def blocked() -> bool:
        found = [task["status"].get("conditions", []) for task in tasks(running, "held")]
        return len(found) == 3 and all(one[0]["reason"] == "QueueHeld" for one in found if one) and all(found)

    skyctl(running, "patch", "pool", "hello", "-p", '{"spec":{"queue":"held"}}')
    wait_for("it to be held", lambda: running.objects.get("pools", "default", "hello")["spec"].get("queue") == "held")
    futures = [
        pool.options(name="held", priority=priority).submit(note_and_wait, str(ledger), str(gate), str(priority))
        for priority in (-500, 0, 500)
    ]
    wait_for("them to say so", blocked, 20)
    assert not any(future.done() for future in futures)

    skyctl(running, "patch", "pool", "hello", "-p", '{"spec":{"queue":null}}')

    assert [future.result(30) for future in futures] == ["-500", "0", "500"]
    assert lines(ledger) == ["500", "0", "-500"]


def counted(ledger: str, number: int) -> int:
    with open(ledger, "a") as file:
        file.write(f"{number}\n")
    return number


def test_a_map_that_is_left_early_runs_little_more_and_ends(
    running: OperatorProcess, pool: sky.PoolHandle, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    found = []
    with pool.options(name="endless").map(lambda n: counted(str(ledger), n), iter(range(1_000_000))) as results:
        for number in results:
            found.append(number)
            if number == 9:
                break

    def over() -> bool:
        (task,) = tasks(running, "endless")
        return bool(task["status"]["phase"] == "Cancelled")

    assert found == list(range(10))
    wait_for("it to end", over, 30)
    assert len(lines(ledger)) < 10_000


def test_results_that_are_kept_until_they_are_delivered_are_gone_then(
    running: OperatorProcess, pool: sky.PoolHandle
) -> None:
    assert pool.options(name="fleeting", ttl=0).run(double, 3) == 6

    wait_for("it to go", lambda: not tasks(running, "fleeting"), 20)


# --- broadcasts ---------------------------------------------------------------------------------------------------


def rank_and_node(ledger: str, gate: str) -> tuple[int, str]:
    import skyward

    info = skyward.node_info()
    with open(ledger, "a") as file:
        file.write(f"{info.rank}\n")
    while not os.path.exists(gate):
        time.sleep(0.02)
    return info.rank, info.node


@pytest.mark.parametrize("wish", ["retry", "replaceRank"])
def test_a_broadcast_whose_node_is_killed(
    operator: OperatorProcess, session: sky.Session, tmp_path: Path, wish: str
) -> None:
    """`retry` waits for the node itself, which is gone for good; `replaceRank` goes on with the node that takes its place."""
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    pool = session.pool("hello").options(on_node_loss=wish)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(pool.broadcast, rank_and_node, str(ledger), str(gate))
        wait_for("both ranks to run", lambda: sorted(lines(ledger)) == ["0", "1"])
        victim = operator.nodes("hello")[0]

        kill_all(processes_of_nodes(operator.state, victim["status"]["providerID"]))

        if wish == "replaceRank":
            wait_for("the lost rank to run again", lambda: len(lines(ledger)) == 3)
            gate.touch()
            ranks = future.result(60)
            assert [rank for rank, _ in ranks] == [0, 1]
            assert victim["metadata"]["name"] not in {node for _, node in ranks}
            assert len({node for _, node in ranks}) == 2
        else:
            with pytest.raises(errors.NodeLost):
                future.result(90)
            gate.touch()
            assert len(lines(ledger)) == 2
