"""The operator dies under a long look: the user is told once, and the look goes on with its successor."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hack.operator_process import OperatorProcess
from skyward.skyctl.printing import TablePrinter
from skyward.skyctl.reconnecting import FOUND, LOST
from tests.skyctl.test_processes import SKYCTL, environ

MANIFEST = """\
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {name: hello, labels: {seen: LABEL}}
spec: {nodes: 0, provider: local}
"""


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[OperatorProcess]:
    found = OperatorProcess(tmp_path / "operator")
    found.save("hello.yaml", MANIFEST.replace("LABEL", "no"))
    found.start()
    yield found
    found.clean_up()


@pytest.mark.slow
def test_a_watch_and_a_wait_outlive_their_operator(operator: OperatorProcess, tmp_path: Path) -> None:
    env = environ(tmp_path, SKYWARD_CONFIG=str(operator.config))
    with (
        started("get", "pools", "-o", "yaml", "-w", env=env) as watching,
        started(
            "wait", "pool/hello", "--for=jsonpath={.metadata.labels.seen}=yes", "--timeout=60s", env=env
        ) as waiting,
    ):
        assert line_with(watching, "seen:") == "seen: no"
        operator.kill()
        told = [process.stderr.readline() for process in (watching, waiting) if process.stderr]
        operator.restart()
        told += [process.stderr.readline() for process in (watching, waiting) if process.stderr]
        operator.save("hello.yaml", MANIFEST.replace("LABEL", "yes"))

        seen = line_with(watching, "seen: yes")
        waited, complaints = waiting.communicate(timeout=60)
        watching.send_signal(signal.SIGINT)
        watching.wait(30)

    assert told == [f"{LOST}\n"] * 2 + [f"{FOUND}\n"] * 2
    assert seen == "seen: yes"
    assert (waiting.returncode, waited, complaints) == (0, "pool.skyward.dev/hello condition met\n", "")
    assert watching.returncode == 130


def test_a_watched_row_is_printed_again_only_when_it_says_something_new(capsys: pytest.CaptureFixture[str]) -> None:
    printer = TablePrinter(wide=False, with_namespace=False)

    printer.show(table("Pending", "0s"))
    printer.show(table("Pending", "1s"))
    printer.show(table("Bootstrapped", "2s"))
    printer.show(table("Bootstrapped", "3s"), is_gone=True)

    assert capsys.readouterr().out == (
        "NAME   STATUS    AGE\n"
        "a      Pending   0s\n"
        "a      Bootstrapped   2s\n"
        "a      Gone           3s\n"
    )  # fmt: skip


def table(status: str, age: str) -> dict[str, object]:
    return {
        "columnDefinitions": [{"name": name} for name in ("Name", "Status", "Age")],
        "rows": [
            {"cells": ["a", status, age], "object": {"metadata": {"name": "a", "namespace": "default", "uid": "1"}}}
        ],
    }


@contextmanager
def started(*words: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([*SKYCTL, *words], env=env, stdout=-1, stderr=-1, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """The next line of its output that holds this."""
    assert process.stdout is not None
    return next(line.strip() for line in process.stdout if text in line)
