"""A pool that is changed while it works: rolled node by node within its budget, drained with patience, or changed in place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess, kill_all, phase_of, processes_of_nodes, wait_for
from tests.e2e.pools import condition, delete_and_check, manifest, slow_double

pytestmark = pytest.mark.slow


@dataclass
class Sampled:
    """Extremes of a pool's nodes while it was watched."""

    fewest_ready: int = 1_000_000
    most_standing: int = 0
    samples: int = 0
    errors: list[BaseException] = field(default_factory=list)


@contextmanager
def sampling(operator: OperatorProcess, pool: str) -> Iterator[Sampled]:
    """Lists the pool's nodes through the API, again and again."""
    sampled, stopped = Sampled(), threading.Event()

    def watch() -> None:
        try:
            while not stopped.wait(0.01):
                nodes = operator.nodes(pool)
                sampled.samples += 1
                sampled.fewest_ready = min(sampled.fewest_ready, sum(phase_of(node) == "Ready" for node in nodes))
                standing = sum("deletionTimestamp" not in node["metadata"] for node in nodes)
                sampled.most_standing = max(sampled.most_standing, standing)
        except BaseException as error:  # told to the test below
            sampled.errors.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sampled
    finally:
        stopped.set()
        thread.join(30)
    assert not sampled.errors
    assert sampled.samples > 10


def uids(operator: OperatorProcess, pool: str = "hello") -> set[str]:
    return {node["metadata"]["uid"] for node in operator.nodes(pool)}


def environment(name: str) -> str | None:
    import os

    return os.environ.get(name)


def note_and_sleep(ledger: str, seconds: float) -> str:
    import os
    import time

    with open(ledger, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    return "slept"


def meet(directory: str, number: int, others: int) -> bool:
    """Whether so many calls run at the same time as this one."""
    import pathlib
    import time

    (pathlib.Path(directory) / str(number)).touch()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if len(list(pathlib.Path(directory).iterdir())) >= others:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(("surge", "unavailable"), [(0, 1), (1, 0)], ids=["unavailable", "surge"])
def test_a_changed_template_rolls_the_nodes_under_load_within_the_budget(
    operator: OperatorProcess, session: sky.Session, surge: int, unavailable: int
) -> None:
    rollout = f"{{maxSurge: {surge}, maxUnavailable: {unavailable}}}"
    operator.save("hello.yaml", manifest(nodes=3, rollout=rollout))
    operator.wait_ready("hello", 3)
    before = uids(operator)
    results: list[int] = []

    with sampling(operator, "hello") as sampled:
        for result in session.pool("hello").map(slow_double, range(300)):
            results.append(result)
            if len(results) == 30:
                operator.save("hello.yaml", manifest(nodes=3, rollout=rollout, image="{env: {COLOUR: green}}"))
        wait_for("all nodes to be new", lambda: not before & uids(operator))
        operator.wait_ready("hello", 3)

    assert results == [n * 2 for n in range(300)]
    assert sampled.fewest_ready >= 3 - unavailable
    assert sampled.most_standing <= 3 + surge
    assert session.pool("hello").broadcast(environment, "COLOUR") == ["green"] * 3
    delete_and_check(operator, "hello")


def test_a_drained_node_finishes_a_task_within_its_patience_and_no_other(
    operator: OperatorProcess, session: sky.Session, tmp_path: Path
) -> None:
    operator.save("hello.yaml", manifest(nodes=2, drainTimeout="30s"))
    operator.wait_ready("hello", 2)
    pool = session.pool("hello")
    patient = tmp_path / "patient"
    futures = [pool.submit(note_and_sleep, str(patient), 3) for _ in range(2)]
    wait_for("both to run", lambda: patient.exists() and len(patient.read_text().split()) == 2)

    operator.save("hello.yaml", manifest(nodes=1, drainTimeout="1s"))
    operator.save("hello.yaml", manifest(nodes=1, drainTimeout="30s"))

    assert [future.result(timeout=60) for future in futures] == ["slept"] * 2
    assert len(patient.read_text().split()) == 2, "nothing was tried again"
    operator.wait_ready("hello", 1)

    operator.save("hello.yaml", manifest(nodes=2, drainTimeout="1s"))
    operator.wait_ready("hello", 2)
    hasty = tmp_path / "hasty"
    futures = [pool.submit(note_and_sleep, str(hasty), 4) for _ in range(2)]
    wait_for("both to run", lambda: hasty.exists() and len(hasty.read_text().split()) == 2)
    operator.save("hello.yaml", manifest(nodes=1, drainTimeout="1s"))

    assert [future.result(timeout=60) for future in futures] == ["slept"] * 2
    assert len(hasty.read_text().split()) == 3, "one was stopped and tried again elsewhere"
    operator.wait_ready("hello", 1)
    delete_and_check(operator, "hello")


def test_what_changes_in_place_reaches_the_running_nodes(
    operator: OperatorProcess, session: sky.Session, tmp_path: Path
) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    before = uids(operator)
    pool = session.pool("hello")
    assert pool.run(environment, "GREETING") is None

    operator.save("hello.yaml", manifest(nodes=2, env="{GREETING: hi}", concurrency=3))
    wait_for("the variable", lambda: pool.broadcast(environment, "GREETING") == ["hi", "hi"], 30)
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    futures = [pool.submit(meet, str(meeting), number, 6) for number in range(6)]

    assert [future.result(timeout=60) for future in futures] == [True] * 6
    assert uids(operator) == before
    delete_and_check(operator, "hello")


def test_a_paused_pool_reacts_to_nothing_until_it_goes_on(operator: OperatorProcess, session: sky.Session) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    before = uids(operator)
    operator.save("hello.yaml", manifest(nodes=3, paused="true", image="{env: {COLOUR: green}}"))
    wait_for(
        "the pause", lambda: condition(operator.objects.get("pools", "default", "hello"), "Paused")["status"] == "True"
    )
    victim = operator.nodes("hello")[0]
    kill_all(processes_of_nodes(operator.state, victim["status"]["providerID"]))
    wait_for("the loss to be seen", lambda: len(operator.ready_nodes("hello")) == 1)

    assert uids(operator) == before
    assert session.pool("hello").run(environment, "COLOUR") is None

    operator.save("hello.yaml", manifest(nodes=3, image="{env: {COLOUR: green}}"))
    wait_for("all nodes to be new", lambda: not before & uids(operator))
    operator.wait_ready("hello", 3)
    assert session.pool("hello").broadcast(environment, "COLOUR") == ["green"] * 3
    delete_and_check(operator, "hello")
