"""Processes of the run: each in a group of its own, none of which outlives the conductor, whatever happens to it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program; what it writes goes to `log` (its standard output too, unless that is given). From the main thread."""
    with log.open("ab") as sink:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=stdin,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """`kill -9`, of a stopped process too. Idempotent."""
    if process.poll() is None:
        process.kill()
        process.wait(10)


def send(pid: int, started: str, number: signal.Signals) -> bool:
    """Signal a process that is known by number and start time; False when it is gone."""
    if start_time(pid) != started:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def start_time(pid: int) -> str:
    """Empty once it is dead, a zombie included."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    fields = text[text.rindex(")") + 2 :].split()
    return "" if fields[0] in "ZX" else fields[19]


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
