"""Agents that reach their operator through its SSH connection: the tunnel breaks, the agent and its work stay."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess, processes_of_nodes, wait_for
from tests.e2e.pools import delete_and_check, double, manifest


def sleep_and_double(number: int, seconds: float) -> int:
    import time

    time.sleep(seconds)
    return number * 2


def agent_pid(operator: OperatorProcess) -> str:
    [path] = (operator.state / "local").glob("*/home/.skyward/agent.pid")
    return path.read_text().split()[0]


def ssh_server(operator: OperatorProcess) -> int:
    [pid] = (
        pid
        for pid in processes_of_nodes(operator.state)
        if b"skyward.drivers.local.sshd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    return pid


@pytest.mark.slow
def test_an_agent_finds_the_next_operator_through_the_reopened_tunnel(
    operator: OperatorProcess, session: sky.Session
) -> None:
    operator.save("tunnel.yaml", manifest("tunnel", 1, connection="tunnel"))
    operator.wait_ready("tunnel", 1)
    before, pid = operator.nodes("tunnel")[0], agent_pid(operator)
    future = session.pool("tunnel").submit(sleep_and_double, 21, 2)

    operator.kill()
    operator.restart()

    assert future.result(timeout=60) == 42
    operator.wait_ready("tunnel", 1)
    after = operator.nodes("tunnel")[0]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert agent_pid(operator) == pid, "the agent was not started again"
    assert list(session.pool("tunnel").map(double, range(20))) == [n * 2 for n in range(20)]
    delete_and_check(operator, "tunnel")


@pytest.mark.ci
def test_a_tunnel_that_was_dead_for_long_and_outlasted_its_operator_is_reopened(
    operator: OperatorProcess, session: sky.Session
) -> None:
    """The machine cannot be reached at all for a while, as behind a broken network, and comes back as it was."""
    operator.save("tunnel.yaml", manifest("tunnel", 1, connection="tunnel"))
    operator.wait_ready("tunnel", 1)
    before, pid, server = operator.nodes("tunnel")[0], agent_pid(operator), ssh_server(operator)
    os.kill(server, signal.SIGSTOP)
    try:
        wait_for("the silence to be seen", lambda: not operator.ready_nodes("tunnel"), 120)
        operator.kill()
        operator.restart()
    finally:
        os.kill(server, signal.SIGCONT)

    operator.wait_ready("tunnel", 1, 120)
    assert operator.nodes("tunnel")[0]["metadata"]["uid"] == before["metadata"]["uid"]
    assert agent_pid(operator) == pid
    assert session.pool("tunnel").run(double, 4) == 8
    delete_and_check(operator, "tunnel")
