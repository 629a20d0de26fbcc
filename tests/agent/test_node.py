"""What the agent knows of its node, what an earlier agent left there, and the file it comes in."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import skyward_agent
from skyward.bootstrap.agent_file import build_agent_file
from skyward_agent.archive import unpacked
from skyward_agent.runner.leftovers import HOME_VARIABLE, ChildRecords, clear_leftovers
from skyward_agent.runner.tree import all_pids, children_of, kill_trees, start_time_of, tree_of
from skyward_agent.sensors.host import HostSensor
from skyward_agent.sensors.notices import Notice, read_notice


def sleeper(**fields: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], start_new_session=True, **fields)  # type: ignore[call-overload, no-any-return]


def test_host_metrics_are_figures_of_this_host(tmp_path: Path) -> None:
    metrics = HostSensor(tmp_path).read()

    assert 0 < metrics["memory_used_bytes"] < metrics["memory_total_bytes"]
    assert 0 < metrics["disk_used_bytes"] <= metrics["disk_total_bytes"]
    assert 0 <= metrics["cpu_percent"] <= 100
    assert metrics["network_received_bytes"] >= 0
    assert metrics["network_sent_bytes"] >= 0
    assert HostSensor(tmp_path).problem() == ""


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("1700000000.5 spot reclaim\n", Notice(1700000000.5, "spot reclaim")),
        ("1700000000", Notice(1700000000.0, "")),
        ("soon", Notice()),
        ("-5 past", Notice()),
        ("nan never", Notice()),
        (None, Notice()),
    ],
    ids=["with-words", "bare", "no-time", "before-all-time", "not-a-number", "absent"],
)
def test_a_notice_is_a_time_and_words_in_a_file(tmp_path: Path, text: str | None, notice: Notice) -> None:
    if text is not None:
        (tmp_path / "notice").write_text(text)

    assert read_notice(tmp_path / "notice") == notice


def test_processes_of_an_earlier_agent_are_known_by_record_session_or_mark(tmp_path: Path) -> None:
    (tmp_path / "tasks" / "left").mkdir(parents=True)
    records = ChildRecords(tmp_path / "children", "boot")
    recorded = sleeper()
    marked = sleeper(env={HOME_VARIABLE: str(tmp_path)})
    foreign = sleeper(env={HOME_VARIABLE: "/elsewhere"})
    records.add(recorded.pid)
    try:
        found = clear_leftovers(tmp_path, tmp_path / "tasks", ChildRecords(tmp_path / "children", "boot"))

        assert found == 2
        assert recorded.wait(10) == marked.wait(10) == -signal.SIGKILL
        assert foreign.poll() is None
        assert list((tmp_path / "tasks").iterdir()) == []
        assert records.take() == ()
    finally:
        for process in (recorded, marked, foreign):
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("boot", "started"),
    [("another boot", start_time_of), ("boot", lambda pid: "1")],
    ids=["recorded-before-the-host-booted", "pid-used-again"],
)
def test_a_process_that_only_has_the_pid_of_a_record_is_left_alone(
    tmp_path: Path, boot: str, started: Callable[[int], str]
) -> None:
    (tmp_path / "tasks").mkdir()
    process = sleeper()
    try:
        records = ChildRecords(tmp_path / "children", "boot")
        (tmp_path / "children" / str(process.pid)).write_text(f"{boot} {started(process.pid)}")

        assert clear_leftovers(tmp_path, tmp_path / "tasks", records) == 0
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_tree_is_ended_with_all_below_it() -> None:
    process = subprocess.Popen(
        ["sh", "-c", "sleep 60 & setsid sh -c 'sleep 60 & wait' & echo; wait"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    tree = tree_of(process.pid)

    kill_trees([process.pid])
    process.wait(10)
    process.stdout.close()

    assert len(tree) >= 3
    assert process.pid in tree
    assert not set(children_of(os.getpid())) & set(tree)
    assert process.pid not in all_pids()


def test_the_agent_file_is_the_same_whenever_it_is_built() -> None:
    build_agent_file.cache_clear()
    first = build_agent_file()
    build_agent_file.cache_clear()

    assert build_agent_file() == first
    assert len(first) < 300 * 1024


def test_the_agent_file_holds_the_agent_and_cloudpickle_and_nothing_else() -> None:
    names = zipfile.ZipFile(io.BytesIO(build_agent_file())).namelist()

    assert {name.split("/")[0] for name in names} == {"__main__.py", "cloudpickle", "skyward_agent"}
    assert names == sorted(names)
    assert "skyward_agent/wire/messages/agent.py" in names
    assert "cloudpickle/LICENSE" in names
    assert not any("__pycache__" in name for name in names)


def test_the_agents_version_is_the_distributions() -> None:
    assert skyward_agent.__version__ == version("skyward-operator")


def test_the_agent_file_unpacks_once_and_whole(tmp_path: Path) -> None:
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(build_agent_file())

    first = unpacked(archive)
    assert first is not None
    (first / "mark").touch()

    assert unpacked(archive) == first
    assert (first / "mark").exists()
    assert list(first.glob("skyward_agent/__pycache__/agent.*.pyc"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.pyz", first.name]


def test_the_agent_needs_nothing_that_is_installed(tmp_path: Path) -> None:
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(build_agent_file())
    command = [sys.executable, "-I", "-S", str(archive), "run", "--home", str(tmp_path / "nowhere")]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert result.stderr == f"skyward-agent: {tmp_path}/nowhere: no such directory: bootstrap this node first\n"


def test_the_agents_own_process_never_loads_a_pickle() -> None:
    program = (
        "import sys, skyward_agent.service; "
        "print([m for m in ('cloudpickle', 'skyward_agent.runner.child') if m in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
