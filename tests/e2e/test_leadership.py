"""A real operator that is stopped, replaced, told to end in the middle of its work, or robbed of its records."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing

import pytest

from hack.operator_process import Deviation, OperatorProcess, wait_for
from skyward.skyctl.main import invoke
from tests.e2e.pools import condition, delete_and_check, manifest

pytestmark = pytest.mark.slow


def test_an_operator_that_was_replaced_while_it_was_stopped_ends_and_touches_nothing(operator: OperatorProcess) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    os.kill(operator.pid, signal.SIGSTOP)
    with closing(sqlite3.connect(operator.state / "skyward.db")) as raw, raw:
        raw.execute("UPDATE leases SET holder = 'another', epoch = epoch + 1, renewals = renewals + 1")
    operator.save("hello.yaml", manifest(nodes=5))
    os.kill(operator.pid, signal.SIGCONT)

    assert operator.wait_ended() == 3
    assert operator.log.read_text().count("leadership lost") == 1
    assert len(_instances(operator)) == 2


def test_an_operator_that_was_stopped_and_not_replaced_goes_on(operator: OperatorProcess) -> None:
    operator.save("hello.yaml", manifest(nodes=1))
    operator.wait_ready("hello", 1)
    os.kill(operator.pid, signal.SIGSTOP)
    operator.save("hello.yaml", manifest(nodes=2))
    os.kill(operator.pid, signal.SIGCONT)
    operator.wait_ready("hello", 2)

    delete_and_check(operator, "hello")


def test_sigterm_in_the_middle_of_launches_and_bootstraps_loses_nothing(operator: OperatorProcess) -> None:
    operator.save("hello.yaml", manifest(nodes=6))
    wait_for("the first instance", lambda: bool(_instances(operator)), 30)
    os.kill(operator.pid, signal.SIGTERM)
    assert operator.wait_ended(10) == 0
    operator.restart()
    operator.wait_ready("hello", 6)

    assert len(_instances(operator)) == 6
    delete_and_check(operator, "hello")


def test_an_operator_that_was_killed_takes_up_at_its_start_what_changed_meanwhile(operator: OperatorProcess) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)

    operator.kill()
    operator.save("hello.yaml", manifest(nodes=1))
    operator.restart()

    operator.wait_ready("hello", 1)
    delete_and_check(operator, "hello")


def test_an_operator_whose_database_was_lost_adopts_its_nodes_when_it_is_told_to(operator: OperatorProcess) -> None:
    operator.save("hello.yaml", manifest(nodes=2))
    operator.wait_ready("hello", 2)
    before = _instances(operator)
    operator.kill()
    for path in operator.state.glob("skyward.db*"):
        path.unlink()
    operator.restart()
    wait_for("the doubt", lambda: bool(_adoptable(operator)), 30)
    wait_for("the pool to say so", lambda: _stalled(operator).startswith("local has 2 instances"), 30)
    assert operator.nodes("hello") == []
    (hash_,) = _adoptable(operator)
    assert hash_ in _stalled(operator)
    kubeconfig = ["--kubeconfig", str(operator.config)]
    assert invoke([*kubeconfig, "adopt", "0123456789ab"]) == 1
    assert invoke([*kubeconfig, "adopt", hash_]) == 0
    operator.wait_ready("hello", 2)

    assert _instances(operator) == before
    delete_and_check(operator, "hello")


def test_a_new_state_directory_beside_what_another_left_is_refused_until_it_takes_that_over(
    operator: OperatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.save("hello.yaml", manifest(nodes=1))
    operator.wait_ready("hello", 1)
    before = _instances(operator)
    operator.kill()
    for path in (*operator.state.glob("skyward.db*"), operator.state / "installation"):
        path.unlink()
    with pytest.raises(Deviation, match="ended with status 1"):
        operator.start()
    assert "left 1 instance (" in operator.log.read_text()
    uid = (operator.manifests / ".skyward-source").read_text().strip()
    monkeypatch.setenv("SKYWARD_INSTALLATION", uid)
    operator.start()
    wait_for("the doubt", lambda: bool(_adoptable(operator)), 30)

    assert _instances(operator) == before


def test_nothing_is_launched_while_the_database_is_locked_and_all_goes_on_afterwards(operator: OperatorProcess) -> None:
    with closing(sqlite3.connect(operator.state / "skyward.db", isolation_level=None)) as raw:
        raw.execute("BEGIN EXCLUSIVE")
        operator.save("hello.yaml", manifest(nodes=1))
        wait_for("the operator to notice", lambda: "could not commit" in operator.log.read_text(), 60)
        assert _instances(operator) == set()
        raw.execute("ROLLBACK")
    operator.wait_ready("hello", 1)

    delete_and_check(operator, "hello")


def _instances(operator: OperatorProcess) -> set[str]:
    return {path.parent.name for path in (operator.state / "local").glob("*/instance.json")}


def _adoptable(operator: OperatorProcess) -> list[str]:
    items = operator.objects.list("sources", namespace="default")["items"]
    return [hash_ for item in items for hash_ in item["status"].get("adoptable", [])]


def _stalled(operator: OperatorProcess) -> str:
    pools = operator.objects.list("pools", namespace="default")["items"]
    return "".join(str(condition(pool, "Stalled")["message"]) for pool in pools)
