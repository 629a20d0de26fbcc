"""The processes of one measurement: found by a mark that they inherit, by their session (Redis overwrites its environment), or by a
home below its directory (nodes of ours start with a clean one). Standard library only."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

MARK = "SKYWARD_BENCH"
"""A variable of the measuring process: the directory of its measurement."""


def others() -> list[int]:
    """All processes of this measurement but this one, which is the client."""
    return [pid for pid in processes_of(os.environ[MARK], os.getsid(0)) if pid != os.getpid()]


def processes_of(directory: str, session: int) -> list[int]:
    """Living ones. `session`: that of the measuring process, which leads it."""
    marks = {f"{MARK}={directory}"}
    home = f"HOME={directory}/"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        state, its_session = _state_and_session(int(entry.name))
        is_ours = not marks.isdisjoint(environment) or any(pair.startswith(home) for pair in environment)
        if (is_ours or its_session == session) and state not in "ZX":
            found.append(int(entry.name))
    return found


def pss_mb(pid: int) -> float:
    """Resident memory, each shared page divided by those who share it; nothing for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"process {pid} has no resident memory")


def end_all(directory: str, session: int, within_s: float = 10.0) -> None:
    """`kill -9` for everything of that measurement, until nothing is left. Raises TimeoutError."""
    deadline = time.monotonic() + within_s
    while found := processes_of(directory, session):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {found} of {directory} do not end")
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def _state_and_session(pid: int) -> tuple[str, int]:
    """A process that is gone is as dead as a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "X", 0
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[3])
