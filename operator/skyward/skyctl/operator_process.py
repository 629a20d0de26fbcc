"""The operator as skyctl starts and stops it: found by the lock on its state directory, never by a name."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skyward.errors import UserError

_LOCK = "operator.lock"
_LOG = "operator.log"
_POLL_S = 0.05
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a state directory."""

    pid: int
    host: str


def holder(state: Path) -> Holder | None:
    """The operator that holds this directory now; None when nobody does. Only the kernel's lock decides."""
    try:
        descriptor = os.open(state / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        record = os.read(descriptor, _TAIL_BYTES)
    finally:
        os.close(descriptor)
    try:
        said = json.loads(record)
        return Holder(int(said["pid"]), str(said["host"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(f"an operator is just starting or stopping in {state}: try again") from None


def stop(state: Path, found: Holder, timeout_s: float) -> None:
    """Ask the operator to end and wait until it let go of its state. Raises UserError when it does not."""
    if found.host != socket.gethostname():
        raise UserError(f"the operator of {state} runs on {found.host}, pid {found.pid}: stop it there")
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise UserError(
            f"the operator of {state} is pid {found.pid} of another user: it cannot be stopped from here"
        ) from None
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if holder_or_none(state) != found:
            return
        time.sleep(_POLL_S)
    raise UserError(f"the operator (pid {found.pid}) was asked to stop and still runs after {timeout_s:.0f} s")


def holder_or_none(state: Path) -> Holder | None:
    """Like `holder`, where starting and stopping count as nobody."""
    try:
        return holder(state)
    except UserError:
        return None


def local_nodes(state: Path) -> int:
    """How many local nodes have a directory below this state."""
    return len(list((state / "local").glob("*/instance.json")))


class OperatorChild:
    """An operator in a session of its own: the terminal's Ctrl-C does not reach it, and it may outlive us."""

    def __init__(self, state: Path, arguments: Sequence[str]) -> None:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log = state / _LOG
        self._start = self.log.stat().st_size if self.log.exists() else 0
        with open(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "skyward.main", "run", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_file(self, path: Path, before: os.stat_result | None, timeout_s: float) -> None:
        """Until the operator wrote its configuration, which it does once it accepts connections. Raises UserError."""
        deadline = time.monotonic() + timeout_s
        while not _is_new(path, before):
            if self._process.poll() is not None:
                raise UserError(f"the operator did not start: {self.last_words()}")
            if time.monotonic() > deadline:
                self.stop(5.0)
                raise UserError(f"the operator did not accept connections within {timeout_s:.0f} s: see {self.log}")
            time.sleep(_POLL_S)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, timeout_s: float) -> None:
        """End it, by force after `timeout_s`. Idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._start)
            lines = log.read()[-_TAIL_BYTES:].decode(errors="replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else f"exit status {self._process.returncode}, see {self.log}"


def stat_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _is_new(path: Path, before: os.stat_result | None) -> bool:
    now = stat_of(path)
    if now is None:
        return False
    return before is None or (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns)
