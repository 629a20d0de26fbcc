"""The pool's health check: a command that judges the node, run again and again beside everything else.

Each run is a session of its own with little CPU time, no core file and the first place in the kernel's choice when memory
ends. It is waited for without a thread; what it writes is read and mostly dropped; when its time is over, everything that
it started ends with it. A single failure says nothing: only a row of them makes the node unhealthy, and a pass ends the row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from skyward_agent.runner.tree import kill_trees
from skyward_agent.wire.messages import CHECK_FAILING, CHECK_PASSING, HealthCheck

_log = logging.getLogger("skyward_agent.probe")
_KEPT_BYTES = 2048
_MESSAGE_CHARACTERS = 200
_POLL_S = 0.05
_LAST_S = 1.0
"""How long a killed run may take to end; then it is left to the sweep of strangers."""
_PREFIX = "ulimit -c 0; ulimit -t {cpu_s}; {{ echo 700 >/proc/self/oom_score_adj; }} 2>/dev/null\n"


class HealthProbe:
    """`state` and `message` are what the agent says of it. A changed check keeps the last verdict until it has its own."""

    def __init__(self, directory: Path, environment: Callable[[], dict[str, str]], changed: Callable[[], None]) -> None:
        self.state = ""
        self.message = ""
        self.pid = 0
        """Of the run that goes on; 0 between runs."""
        self._directory = directory
        self._environment = environment
        self._changed = changed
        self._check: HealthCheck | None = None
        self._failures = 0
        self._news = asyncio.Event()

    def configure(self, check: HealthCheck | None) -> None:
        if check == self._check:
            return
        self._check = check
        self._failures = 0
        if check is None:
            self._say("", "")
        self._news.set()

    async def run(self) -> None:
        """Until cancelled. A check that changes is run at once."""
        while True:
            self._news.clear()
            check = self._check
            if check is not None:
                problem = await self._run_once(check)
                if check == self._check:
                    self._judge(check, problem)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if check is None else check.interval_s):
                    await self._news.wait()

    def _judge(self, check: HealthCheck, problem: str) -> None:
        if not problem:
            self._failures = 0
            self._say(CHECK_PASSING, "")
            return
        self._failures += 1
        if self._failures <= check.threshold:
            _log.warning("health check failed times=%d problem=%r", self._failures, problem)
        if self._failures >= check.threshold and self.state != CHECK_FAILING:
            self._say(CHECK_FAILING, problem)

    def _say(self, state: str, message: str) -> None:
        if (state, message) != (self.state, self.message):
            self.state, self.message = state, message
            self._changed()

    # --- one run -------------------------------------------------------------------------------------------------

    async def _run_once(self, check: HealthCheck) -> str:
        """Why it failed; empty when it passed."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writer, True)
        try:
            process = self._start(check, writer)
        except OSError as error:
            os.close(reader)
            return f"it could not be started: {error}"
        finally:
            os.close(writer)
        output = _Tail(reader)
        try:
            in_time = await _ends_within(process, check.timeout_s)
            if not in_time:
                kill_trees((process.pid,))
                await _ends_within(process, _LAST_S)
        except asyncio.CancelledError:  # the agent ends, and waits for a moment
            kill_trees((process.pid,))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_S)
            raise
        finally:
            # What it left in its session becomes the agent's child, who ends strangers; itself too, should it not die now.
            kill_trees((process.pid,))
            status = process.poll()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            output.close()
            self.pid = 0
        if not in_time or status is None:
            return f"it took longer than {check.timeout_s:g} s"
        return _problem_of(status, output.text())

    def _start(self, check: HealthCheck, output: int) -> subprocess.Popen[bytes]:
        prefix = _PREFIX.format(cpu_s=int(check.timeout_s) + 1)
        process = subprocess.Popen(
            ["/bin/sh", "-c", prefix + check.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=self._directory,
            env=self._environment(),
            start_new_session=True,
        )
        self.pid = process.pid
        return process


class _Tail:
    """The last bytes of what is written into a pipe; the rest is read and dropped, so that no writer waits."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(pipe, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, 64 * 1024)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._pipe)
        self._kept = (self._kept + data)[-_KEPT_BYTES:]

    def close(self) -> None:
        self._read()
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)

    def text(self) -> str:
        return self._kept.decode(errors="replace")


async def _ends_within(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await _ended(process)
    except TimeoutError:
        return False
    return True


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end without reaping it: until then nobody else can have its number."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # a kernel before 5.3, or a sandbox without it
        while process.poll() is None:  # noqa: ASYNC110 - nothing tells of its end here
            await asyncio.sleep(_POLL_S)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _problem_of(status: int, output: str) -> str:
    if status == 0:
        return ""
    ended = f"exit status {status}" if status > 0 else f"killed by {_signal_name(-status)}"
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    return f"{ended}: {last[:_MESSAGE_CHARACTERS]}" if last else ended


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
