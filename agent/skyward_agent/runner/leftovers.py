"""What an agent that was killed leaves behind: processes of its tasks and their directories. The next one clears it away.

Each child is on record by pid and start time, carries the agent's home in its environment, and leads a session; whatever
is known by one of these signs, and all that descends from it, is ended.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from skyward_agent.runner.tree import all_pids, kill_trees, session_of, start_time_of

HOME_VARIABLE = "SKYWARD_AGENT_HOME"
"""In the environment of every child: which agent's it is."""


class ChildRecords:
    """Files `children/PID` that hold the host's boot id and the process's start time."""

    def __init__(self, directory: Path, boot: str) -> None:
        self._directory = directory
        self._boot = boot
        directory.mkdir(mode=0o700, exist_ok=True)

    def add(self, pid: int) -> None:
        (self._directory / str(pid)).write_text(f"{self._boot} {start_time_of(pid) or ''}")

    def remove(self, pid: int) -> None:
        (self._directory / str(pid)).unlink(missing_ok=True)

    def take(self) -> tuple[tuple[int, str], ...]:
        """All (pid, start time) on record since the host booted; the records are gone afterwards."""
        found = []
        for path in self._directory.iterdir():
            boot, _, started = path.read_text().partition(" ")
            if path.name.isdigit() and boot == self._boot:
                found.append((int(path.name), started))
            path.unlink()
        return tuple(found)


def clear_leftovers(home: Path, tasks: Path, records: ChildRecords) -> int:
    """End processes and remove task directories of earlier incarnations. Returns how many processes were found. Only for
    the holder of the agent's lock."""
    recorded = records.take()
    sessions = {pid for pid, started in recorded if start_time_of(pid) in (started, None)}
    marker = f"{HOME_VARIABLE}={home}".encode()
    own = {os.getpid(), os.getppid()}
    found = [
        pid
        for pid in all_pids()
        if pid not in own and (session_of(pid) in sessions or marker in _environment(pid).split(b"\0"))
    ]
    kill_trees(found)
    for path in tasks.iterdir():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return len(found)


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""
