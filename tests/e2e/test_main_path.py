"""The main job with real processes: a file becomes nodes that run functions, and everything goes away again."""

from __future__ import annotations

import concurrent.futures
import os
import signal
from pathlib import Path

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess, kill_all, processes_of_nodes, wait_for
from tests.e2e.pools import condition, delete_and_check, double, manifest, pid_of_child, slow_double

pytestmark = pytest.mark.slow


def test_a_file_becomes_nodes_that_run_functions_and_goes_away_again(
    operator: OperatorProcess, session: sky.Session, capfd: pytest.CaptureFixture[str]
) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    pool = session.pool("hello")

    assert pool.run(double, 21) == 42
    assert list(pool.map(double, range(100))) == [n * 2 for n in range(100)]
    assert [info.rank for info in pool.broadcast(sky.node_info)] == [0, 1]
    future = pool.submit(double, 4)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(timeout=20) == 8

    pool.run(print, "hello from afar")
    assert "hello from afar" in capfd.readouterr().out

    operator.save("hello.yaml", manifest(nodes=3))
    operator.wait_ready("hello", 3)
    operator.save("hello.yaml", manifest(nodes=1))
    operator.wait_ready("hello", 1)
    delete_and_check(operator, "hello")


def test_a_numpy_function_runs_on_a_pool_that_declares_numpy(operator: OperatorProcess, session: sky.Session) -> None:
    def mean_of_squares(count: int) -> float:
        import numpy

        return float((numpy.arange(count) ** 2).mean())

    operator.save("science.yaml", manifest("science", 1, image="{pip: [numpy]}"))
    operator.wait_ready("science", 1, 240)

    assert session.pool("science").run(mean_of_squares, 5) == 6.0


def test_a_map_survives_kill_9_of_a_node_and_the_node_is_replaced(
    operator: OperatorProcess, session: sky.Session
) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    victim = operator.nodes("hello")[0]
    results: list[int] = []

    for result in session.pool("hello").map(slow_double, range(120)):
        results.append(result)
        if len(results) == 20:
            kill_all(processes_of_nodes(operator.state, victim["status"]["providerID"]))

    assert results == [n * 2 for n in range(120)]
    wait_for(
        "the replacement",
        lambda: victim["metadata"]["uid"] not in [n["metadata"]["uid"] for n in operator.nodes("hello")],
    )
    operator.wait_ready("hello", 2)
    reasons = [event["reason"] for event in operator.objects.list("events", namespace="default")["items"]]
    assert "InstanceLost" in reasons or "NodeLost" in reasons
    delete_and_check(operator, "hello")


def test_a_killed_agent_is_started_again_on_the_same_node(operator: OperatorProcess, session: sky.Session) -> None:
    operator.save("hello.yaml", manifest(nodes=1))
    operator.wait_ready("hello", 1)
    before = operator.nodes("hello")[0]
    futures = [session.pool("hello").submit(slow_double, n) for n in range(20)]

    pid = int(
        (operator.state / "local" / before["status"]["providerID"] / "home" / ".skyward" / "agent.pid")
        .read_text()
        .split()[0]
    )
    os.kill(pid, signal.SIGKILL)

    assert [future.result(timeout=60) for future in futures] == [n * 2 for n in range(20)]
    operator.wait_ready("hello", 1)
    after = operator.nodes("hello")[0]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["restarts"] >= 1
    delete_and_check(operator, "hello")


def test_a_killed_child_costs_one_attempt_and_no_task(operator: OperatorProcess, session: sky.Session) -> None:
    operator.save("hello.yaml", manifest(nodes=1))
    operator.wait_ready("hello", 1)
    pool = session.pool("hello")
    child = pool.run(pid_of_child)

    future = pool.submit(slow_double, 3)
    os.kill(child, signal.SIGKILL)

    assert future.result(timeout=30) == 6
    assert pool.run(pid_of_child) != child


def test_a_killed_ssh_server_gets_its_node_replaced_with_a_readable_reason(
    operator: OperatorProcess, session: sky.Session
) -> None:
    operator.save("hello.yaml", manifest(nodes=1))
    operator.wait_ready("hello", 1)
    victim = operator.nodes("hello")[0]
    servers = [
        pid
        for pid in processes_of_nodes(operator.state, victim["status"]["providerID"])
        if b"skyward.drivers.local.sshd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(servers) == 1

    os.kill(servers[0], signal.SIGKILL)

    wait_for(
        "the replacement",
        lambda: victim["metadata"]["uid"] not in [n["metadata"]["uid"] for n in operator.nodes("hello")],
    )
    operator.wait_ready("hello", 1)
    assert session.pool("hello").run(double, 1) == 2
    notes = [e["note"] for e in operator.objects.list("events", namespace="default")["items"]]
    assert any("SSH server" in note for note in notes), notes
    delete_and_check(operator, "hello")


def test_a_pool_behind_a_tunnel_runs_functions(operator: OperatorProcess, session: sky.Session) -> None:
    operator.save("tunnel.yaml", manifest("tunnel", 1, connection="tunnel"))
    operator.wait_ready("tunnel", 1)

    assert list(session.pool("tunnel").map(double, range(50))) == [n * 2 for n in range(50)]

    delete_and_check(operator, "tunnel")


def test_a_broken_edit_keeps_the_last_good_generation_and_disturbs_no_other_pool(
    operator: OperatorProcess, session: sky.Session
) -> None:
    operator.save("a.yaml", manifest("first", 1))
    operator.save("b.yaml", manifest("second", 1))
    operator.wait_ready("first", 1)
    operator.wait_ready("second", 1)

    operator.save("a.yaml", manifest("first", -1))
    wait_for(
        "the rejection",
        lambda: condition(operator.objects.get("pools", "default", "first"), "Accepted")["reason"] == "ManifestInvalid",
    )

    rejected = condition(operator.objects.get("pools", "default", "first"), "Accepted")
    assert rejected["status"] == "False"
    assert "a.yaml:5: spec.nodes" in rejected["message"]
    assert len(operator.ready_nodes("first")) == len(operator.ready_nodes("second")) == 1
    assert session.pool("first").run(double, 2) == session.pool("second").run(double, 2) == 4


def test_an_ssh_step_that_fails_is_readable_in_the_node(operator: OperatorProcess) -> None:
    operator.save("bad.yaml", manifest("bad", 1, image='{setup: ["echo about to fail; exit 7"]}'))

    def failed() -> bool:
        return any("about to fail" in node["status"].get("failure", "") for node in operator.nodes("bad"))

    wait_for("the failure", failed, 60)
