"""Mistakes in starting the operator: one line each, an exit status, and nothing changed."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from skyward.main import invoke

OPERATOR = (sys.executable, "-m", "skyward.main")
ANY_PORT = ("--listen", "127.0.0.1:0", "--tasks", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("words", "variables", "says"),
    [
        (("bogus",), {}, "No such command 'bogus'"),
        (("run", "--bogus"), {}, "No such option: --bogus"),
        (("run", "--listen", "nonsense"), {}, "--listen: 'nonsense' is not an address: write HOST:PORT"),
        (("run", "--log-level", "loud"), {}, "--log-level: must be 'debug'"),
        (("run",), {"SKYWARD_TASKS": "x"}, "SKYWARD_TASKS: 'x' is not an address"),
        (("run",), {"SKYWARD_MANIFEST": "x"}, "did you mean SKYWARD_MANIFESTS?"),
        (("run",), {"SKYWARD_LOG__LEVE": "x"}, "SKYWARD_LOG__LEVE: there is no such setting"),
        (("run",), {"SKYWARD_LOG": "json"}, "cannot be read"),
        (("run",), {"SKYWARD_CONTROLLERS__WORKERS": "0"}, "SKYWARD_CONTROLLERS__WORKERS: must be greater"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple | dict) else None,
)
def test_a_wrong_setting_is_one_line_and_exit_status_2(
    words: tuple[str, ...],
    variables: dict[str, str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    status = invoke(words)

    err = capsys.readouterr().err
    assert (status, len(err.splitlines()), err[:7]) == (2, 1, "error: "), err
    assert says in err


@pytest.mark.slow
def test_what_cannot_be_used_is_one_line_and_exit_status_1(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    state = tmp_path / "state"
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        port = taken.getsockname()[1]
        busy = operator(manifests, state, "--listen", f"127.0.0.1:{port}", "--tasks", "127.0.0.1:0")
    missing = operator(tmp_path / "none", state, *ANY_PORT)
    no_config = operator(manifests, state, *ANY_PORT, "--kubeconfig", "/proc/none/config")
    with sqlite3.connect(state / "skyward.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    newer = operator(manifests, state, *ANY_PORT)

    for done, says in (
        (busy, f"cannot listen on 127.0.0.1:{port} (address already in use): choose another address with --listen"),
        (missing, f"there is no directory {tmp_path}/none: make it, or name another with --manifests"),
        (no_config, "name another file with --kubeconfig"),
        (newer, "was written by a newer version"),
    ):
        errors = [line for line in done.stderr.splitlines() if "[info " not in line]
        assert (done.returncode, len(errors), errors[0][:7]) == (1, 1, "error: "), done.stderr
        assert says in errors[0]


def operator(manifests: Path, state: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(state.parent)}
    argv = [*OPERATOR, "run", "--manifests", str(manifests), "--state", str(state), *more]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)
