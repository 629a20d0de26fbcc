"""`kill -9` of the operator at any moment: the same nodes are adopted, no task is lost, none commits twice, nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess
from tests.e2e.pools import delete_and_check, manifest

TASKS = 200
LANES = 10


@dataclass(frozen=True)
class Point:
    """When to kill: at a stage of the pool's life, this long into it or after so many results."""

    stage: str
    after: float

    def __str__(self) -> str:
        return f"{self.stage}-{self.after}"


PROVISIONING = [Point("provisioning", s) for s in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3)]
WORKING = [Point("working", n) for n in (0, 1, 5, 20, 40, 80, 120, 160, 190, 199)]
SCALING = [Point("scaling", s) for s in (0.0, 0.1, 0.3, 0.6, 1.0)]
DELETING = [Point("deleting", s) for s in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)]
FEW = [PROVISIONING[4], WORKING[4], SCALING[2], DELETING[2]]
REST = [point for point in (*PROVISIONING, *WORKING, *SCALING, *DELETING) if point not in FEW]


def note_and_return(ledger: str, number: int) -> int:
    import time

    with open(ledger, "a") as file:
        file.write(f"{number}\n")
    time.sleep(0.02)
    return number


def crash(operator: OperatorProcess) -> None:
    operator.kill()
    operator.restart()


def work(operator: OperatorProcess, session: sky.Session, ledger: Path, on_result: Callable[[int], None]) -> None:
    """Run TASKS tasks; each must come back once, with its own result, whatever happens to the operator meanwhile."""
    pool = session.pool("hello")
    futures = [pool.submit(note_and_return, str(ledger), number) for number in range(TASKS)]
    for done, future in enumerate(futures):
        on_result(done)
        assert future.result(timeout=90) == done
    executed = [int(line) for line in ledger.read_text().split()]
    assert set(executed) == set(range(TASKS))


def survive(operator: OperatorProcess, point: Point, ledger: Path) -> None:
    operator.save("hello.yaml", manifest(nodes=2, concurrency=LANES))
    if point.stage == "provisioning":
        time.sleep(point.after)
        crash(operator)
    operator.wait_ready("hello", 2)
    nodes = {node["metadata"]["uid"] for node in operator.nodes("hello")}

    def on_result(done: int) -> None:
        if point.stage == "working" and done == point.after:
            crash(operator)

    with sky.connect(operator.config) as session:
        work(operator, session, ledger, on_result)
    operator.wait_ready("hello", 2)
    assert {node["metadata"]["uid"] for node in operator.nodes("hello")} == nodes, "the same nodes are adopted"
    if point.stage == "scaling":
        operator.save("hello.yaml", manifest(nodes=3, concurrency=LANES))
        time.sleep(point.after)
        crash(operator)
        operator.wait_ready("hello", 3)
    if point.stage == "deleting":
        operator.objects.delete("pools", "default", "hello")
        time.sleep(point.after)
        crash(operator)
        operator.wait_gone()
        assert operator.leftovers() == []
    else:
        delete_and_check(operator, "hello")


@pytest.mark.slow
@pytest.mark.parametrize("point", FEW, ids=str)
def test_the_operator_survives_kill_9(operator: OperatorProcess, point: Point, tmp_path: Path) -> None:
    survive(operator, point, tmp_path / "ledger")


@pytest.mark.ci
@pytest.mark.parametrize("point", REST, ids=str)
def test_the_operator_survives_kill_9_at_many_more_points(
    operator: OperatorProcess, point: Point, tmp_path: Path
) -> None:
    survive(operator, point, tmp_path / "ledger")


@pytest.mark.ci
def test_twenty_nodes_come_up_and_go_down(operator: OperatorProcess) -> None:
    operator.save("hello.yaml", manifest(nodes=20))
    operator.wait_ready("hello", 20, 180)

    delete_and_check(operator, "hello")
