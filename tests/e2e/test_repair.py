"""Repair on real nodes: a health check that begins to fail, an announced loss, a node that a user takes out of service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess, wait_for
from tests.e2e.pools import condition, delete_and_check, manifest

pytestmark = pytest.mark.slow

CHECK = "{command: 'echo looking; test ! -e sick || { cat sick; exit 3; }', interval: 200ms, timeout: 5s, threshold: 2}"


def home_of(operator: OperatorProcess, node: dict) -> Path:
    return operator.state / "local" / node["status"]["providerID"] / "home"


def skyctl(operator: OperatorProcess, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skyward.skyctl.main", "--kubeconfig", str(operator.config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def note_and_wait(ledger: str, until: str) -> str:
    import os
    import time

    with open(ledger, "a") as file:
        file.write(f"{os.getpid()}\n")
    while not os.path.exists(until):
        time.sleep(0.05)
    return "done"


def test_a_node_whose_check_begins_to_fail_is_drained_and_replaced_and_says_why(
    operator: OperatorProcess, session: sky.Session, tmp_path: Path
) -> None:
    operator.save("hello.yaml", manifest(nodes=2, healthCheck=CHECK, drainTimeout="2m"))
    operator.wait_ready("hello", 2)
    ledger, until = tmp_path / "ledger", tmp_path / "until"
    futures = [session.pool("hello").submit(note_and_wait, str(ledger), str(until)) for _ in range(2)]
    wait_for("both to run", lambda: ledger.exists() and len(ledger.read_text().split()) == 2)
    victim = operator.nodes("hello")[0]
    name = victim["metadata"]["name"]

    (home_of(operator, victim) / "sick").write_text("the disk is upside down\n")
    wait_for("it to leave", lambda: "deletionTimestamp" in operator.objects.get("nodes", "default", name)["metadata"])
    leaving = operator.objects.get("nodes", "default", name)
    page = skyctl(operator, "describe", "node", name)
    until.touch()

    assert leaving["spec"]["unschedulable"] or condition(leaving, "Drained")["status"] == "absent"
    assert condition(leaving, "Healthy")["status"] == "False"
    assert "its health check fails: exit status 3: the disk is upside down" in page.stdout
    assert [future.result(timeout=60) for future in futures] == ["done", "done"]
    assert len(ledger.read_text().split()) == 2, "its task was waited for and not run again"
    wait_for("its end", lambda: not home_of(operator, victim).exists())
    wait_for("another in its place", lambda: len(operator.ready_nodes("hello")) == 2)

    def told() -> str:
        return str(operator.objects.get("nodes", "default", name)["status"].get("failure", ""))

    wait_for("its record, once its end is proved", lambda: bool(told()))
    assert told() == "its health check fails: exit status 3: the disk is upside down"
    delete_and_check(operator, "hello")


def test_a_new_node_is_not_ready_before_its_check_passes(operator: OperatorProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    check = f"{{command: 'test -e \"{gate}\"', interval: 100ms}}"
    operator.save("hello.yaml", manifest(nodes=1, healthCheck=check))
    wait_for(
        "the agent",
        lambda: any(
            condition(node, "Registered")["status"] == "True"
            and condition(node, "Ready")["reason"].startswith("HealthCheck")
            for node in operator.nodes("hello")
        ),
        60,
    )

    gate.touch()

    operator.wait_ready("hello", 1)
    delete_and_check(operator, "hello")


def test_an_announced_spot_loss_is_replaced_before_it_happens(operator: OperatorProcess) -> None:
    faults = "[{name: local, options: {faults: {spotLossAfter: 40s, spotNotice: 35s}}}]"
    text = manifest(nodes=1).replace("  provider: local\n", f"  providers: {faults}\n")
    operator.save("hello.yaml", text)
    operator.wait_ready("hello", 1)
    first = operator.ready_nodes("hello")[0]["metadata"]

    wait_for("another to be ready", lambda: _another_is_ready(operator, first["uid"]), 30)
    events = skyctl(operator, "describe", "node", first["name"]).stdout

    assert "rehearsed notice of a spot loss" in events
    delete_and_check(operator, "hello")


def _another_is_ready(operator: OperatorProcess, uid: str) -> bool:
    return any(node["metadata"]["uid"] != uid for node in operator.ready_nodes("hello"))


def test_a_user_drains_a_node_and_gives_it_work_again(
    operator: OperatorProcess, session: sky.Session, tmp_path: Path
) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    ledger, until = tmp_path / "ledger", tmp_path / "until"
    futures = [session.pool("hello").submit(note_and_wait, str(ledger), str(until)) for _ in range(2)]
    wait_for("both to run", lambda: ledger.exists() and len(ledger.read_text().split()) == 2)
    name = operator.nodes("hello")[0]["metadata"]["name"]

    impatient = skyctl(operator, "drain", name, "--timeout", "1s")
    until.touch()
    drained = skyctl(operator, "drain", name)
    marked = operator.objects.get("nodes", "default", name)
    back = skyctl(operator, "uncordon", name)

    assert impatient.returncode == 1
    assert "still runs tasks" in impatient.stderr
    assert (drained.returncode, back.returncode) == (0, 0), drained.stderr + back.stderr
    assert f"node.skyward.dev/{name} drained" in drained.stdout
    assert marked["spec"]["unschedulable"]
    assert [future.result(timeout=30) for future in futures] == ["done", "done"]
    wait_for("both to serve", lambda: len({session.pool("hello").run(hostname) for _ in range(30)}) == 2, 30)
    deleted = skyctl(operator, "drain", name, "--delete")
    assert deleted.returncode == 0, deleted.stderr
    operator.wait_ready("hello", 2)
    assert name not in {node["metadata"]["name"] for node in operator.nodes("hello")}
    delete_and_check(operator, "hello")


def hostname() -> str:
    import skyward

    return skyward.node_info().node
