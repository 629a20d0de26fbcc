from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyward.contracts import ProcessId
from skyward.system.processes import SystemProcesses

MARKER = "SKYWARD_TEST_TREE"


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A marker of this test alone; whatever carries it is killed in the end."""
    marker = (MARKER, str(tmp_path))
    yield marker
    processes = SystemProcesses()
    wait_for(lambda: processes.kill_tree(None, marker=marker) == 0)


def wait_for(is_so: Callable[[], object], patience_s: float = 10.0) -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def spawn(processes: SystemProcesses, mark: tuple[str, str], tmp_path: Path, script: str) -> ProcessId:
    env = {"PATH": os.environ["PATH"], mark[0]: mark[1]}
    return processes.spawn(["sh", "-c", script], env=env, cwd=tmp_path, log=tmp_path / "log")


def test_a_spawned_process_leads_its_own_session_and_logs(mark: tuple[str, str], tmp_path: Path) -> None:
    processes = SystemProcesses()

    process = spawn(processes, mark, tmp_path, "pwd; echo oops >&2; sleep 60")

    assert processes.is_alive(process)
    wait_for(lambda: "oops" in (tmp_path / "log").read_text())
    assert (tmp_path / "log").read_text().splitlines() == [str(tmp_path), "oops"]
    assert os.getsid(process.pid) == process.pid


def test_a_program_that_is_not_there_is_dead_and_says_why(mark: tuple[str, str], tmp_path: Path) -> None:
    processes = SystemProcesses()

    process = processes.spawn(["/no/such/program"], env={}, cwd=tmp_path, log=tmp_path / "log")

    wait_for(lambda: not processes.is_alive(process))
    assert "/no/such/program" in (tmp_path / "log").read_text()


def test_an_ended_child_is_not_alive_and_leaves_no_zombie(mark: tuple[str, str], tmp_path: Path) -> None:
    processes = SystemProcesses()

    process = spawn(processes, mark, tmp_path, "exit 3")

    wait_for(lambda: not processes.is_alive(process))
    assert not Path(f"/proc/{process.pid}").exists()


def test_the_same_number_at_another_time_or_boot_is_another_process(mark: tuple[str, str], tmp_path: Path) -> None:
    processes = SystemProcesses()
    process = spawn(processes, mark, tmp_path, "sleep 60")

    assert not processes.is_alive(replace(process, started=process.started + 1))
    assert not processes.is_alive(replace(process, boot="another"))
    assert processes.kill_tree(replace(process, started=process.started + 1), marker=(MARKER, "nobody")) == 0
    assert processes.is_alive(process)


def test_kills_descendants_and_marked_processes_and_is_idempotent(mark: tuple[str, str], tmp_path: Path) -> None:
    processes = SystemProcesses()
    # One plain descendant, one that lost the marker but not its parent, one that lost its parents but not the marker.
    process = spawn(processes, mark, tmp_path, "sleep 61 & env -i sleep 62 & (setsid sleep 63 &) ; touch up; wait")
    wait_for((tmp_path / "up").exists)
    wait_for(lambda: len(marked(mark)) >= 3)

    assert processes.kill_tree(process, marker=mark) >= 4

    wait_for(lambda: processes.kill_tree(process, marker=mark) == 0)
    assert marked(mark) == []
    assert not processes.is_alive(process)


def test_a_tree_that_keeps_forking_dies_too(mark: tuple[str, str], tmp_path: Path) -> None:
    processes = SystemProcesses()
    forker = "import os\nfor _ in range(20000):\n if os.fork(): os._exit(0)\n"
    script = f'touch up; for i in 1 2 3; do {sys.executable} -c "{forker}" & done; wait; sleep 60'
    process = spawn(processes, mark, tmp_path, script)
    wait_for((tmp_path / "up").exists)

    wait_for(lambda: processes.kill_tree(process, marker=mark) == 0)

    assert marked(mark) == []


def test_never_kills_itself_or_its_ancestors(tmp_path: Path) -> None:
    program = (
        "from skyward.system.processes import SystemProcesses; p = SystemProcesses(); "
        f"print(p.kill_tree(None, marker=('{MARKER}', '{tmp_path}-self')))"
    )
    env = {**os.environ, MARKER: f"{tmp_path}-self"}

    # The shell is a marked ancestor of the program that kills by this marker.
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1"; echo "shell lives"', sys.executable, program],
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout.split() == ["0", "shell", "lives"]


def test_stopped_processes_are_killed(mark: tuple[str, str], tmp_path: Path) -> None:
    processes = SystemProcesses()
    process = spawn(processes, mark, tmp_path, "sleep 60")
    os.kill(process.pid, signal.SIGSTOP)

    wait_for(lambda: processes.kill_tree(process, marker=mark) == 0)

    assert not processes.is_alive(process)


def marked(mark: tuple[str, str]) -> list[int]:
    wanted = f"{mark[0]}={mark[1]}".encode()
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if wanted in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
            except OSError:
                continue
    return found
