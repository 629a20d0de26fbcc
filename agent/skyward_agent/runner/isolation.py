"""A child process serves many tasks: what one of them changed in it is put back before the next.

What cannot be put back (threads and processes that live on, closed standard streams, a changed root) is told to the
parent, which replaces the child.
"""

from __future__ import annotations

import ctypes
import fcntl
import io
import itertools
import os
import resource
import shutil
import signal
import sys
import termios
import threading
import time
from typing import Any, TextIO

from skyward_agent.runner.traits import Traits
from skyward_agent.runner.turns import InTurn, Turns

_STANDARD = (0, 1, 2)
_RESERVED = 32
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def high_descriptor(descriptor: int) -> int:
    """A copy far above those that careless code closes in a sweep; programs the task starts do not inherit it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = 1024 if soft == resource.RLIM_INFINITY else min(soft, 1024)
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, max(3, top - _RESERVED))


def set_process_traits(parent: int) -> bool:
    """Die with the agent, adopt what is forked off below, and be the kernel's first choice when memory ends.

    False when the agent was gone before this took effect.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass  # not allowed in some containers; the agent is then only as safe as its tasks
    return os.getppid() == parent


class Isolation:
    """The state of a fresh child, to which `leave` goes back after each `enter`."""

    def __init__(self, base_directory: str) -> None:
        self._base_directory = base_directory
        self._directories = (f"{base_directory}/{os.getpid()}-{number}" for number in itertools.count())
        self._directory = next(self._directories)
        self._made: tuple[int, int, int] | None = None
        """Which directory that is, when it is there for the next task."""
        self._environment = dict(os.environ)
        self._applied = dict(_raw_environment())
        """The environment as it was last set: tasks of one kind have the same, so that most find it in place."""
        self._task_variables: dict[str, str] = {}
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._saved = {descriptor: high_descriptor(descriptor) for descriptor in _STANDARD}
        self._identities = {descriptor: _identity(descriptor) for descriptor in _STANDARD}
        self._streams: tuple[TextIO, TextIO, TextIO] = (sys.stdin, *self._outputs())
        self._traits = Traits()
        self._recursion_limit = sys.getrecursionlimit()
        self._path = list(sys.path)
        self._argv = list(sys.argv)
        self._threads: set[threading.Thread] = set()
        self._use_streams()

    def enter(self, env: dict[str, str]) -> None:
        """Begin a task: its own directory and environment. Raises OSError when the directory cannot be made, ValueError for
        an impossible variable."""
        if self._made is None:
            os.mkdir(self._directory, 0o700)  # noqa: PTH102 - hot path
            self._made = _which(self._directory)
        os.chdir(self._directory)
        if env != self._task_variables:
            self._set_environment(env)
        self._threads = set(threading.enumerate())

    def leave(self) -> bool:
        """Put everything back. True when nothing of the task lives on."""
        intact = self._flush()
        try:
            os.chdir(self._base_directory)
            self._restore_descriptors()
        except OSError:
            return False
        if _raw_environment() != self._applied:
            self._reset_environment()
        os.umask(self._umask)
        intact = self._traits.restore() and intact
        sys.path[:] = self._path
        sys.argv[:] = self._argv
        sys.setrecursionlimit(self._recursion_limit)
        self._use_streams()
        return intact and not self._threads_survive() and not _processes_survive()

    def put_away(self) -> None:
        """Have a fresh directory for the next task. One that the last task left as it was serves again: on a disk, making and
        removing one for each takes longer than most short tasks. What cannot be removed now, the agent's next start sweeps."""
        try:
            with os.scandir(self._directory) as entries:
                is_empty = next(entries, None) is None
            if is_empty and _which(self._directory) == self._made:
                return
        except OSError:
            pass
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = next(self._directories)
        self._made = None

    def _outputs(self) -> tuple[TextIO, TextIO]:
        """What the task writes to one after the other is read in that order."""
        turns = Turns(unread)
        return line_buffered(1, InTurn(1, turns)), line_buffered(2, InTurn(2, turns))

    def has_written(self) -> bool:
        """As `has_output`, in the midst of a task: what it buffered is written out first."""
        self._flush()
        return self.has_output()

    def has_output(self) -> bool:
        """Whether the pipes hold output that the agent has not read."""
        return any(unread(self._saved[descriptor]) for descriptor in (1, 2))

    def _flush(self) -> bool:
        """Output comes before the report, whatever the task put in the place of the streams."""
        intact = True
        for stream in (sys.stdout, sys.stderr, *self._streams[1:]):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                intact = intact and stream not in self._streams
        return intact

    def _restore_descriptors(self) -> None:
        for descriptor, saved in self._saved.items():
            try:
                unchanged = _identity(descriptor) == self._identities[descriptor]
            except OSError:
                unchanged = False
            if not unchanged:
                os.dup2(saved, descriptor)

    def _set_environment(self, env: dict[str, str]) -> None:
        self._reset_environment()
        for name, value in env.items():
            os.environ[name] = value
        self._task_variables = env
        if "TZ" in env:
            time.tzset()
        self._applied = dict(_raw_environment())

    def _reset_environment(self) -> None:
        """Only what differs is touched: each change is a call into C."""
        current = dict(os.environ)
        for name in current.keys() - self._environment.keys():
            del os.environ[name]
        for name, value in self._environment.items():
            if current.get(name) != value:
                os.environ[name] = value
        if current.get("TZ") != os.environ.get("TZ"):
            time.tzset()
        self._task_variables = {}
        self._applied = dict(_raw_environment())

    def _use_streams(self) -> None:
        """The task's output streams, opened anew when it closed them."""
        if any(stream.closed for stream in self._streams):
            stdin = open(os.dup(self._saved[0]))  # noqa: SIM115 - lives as long as the process
            self._streams = (stdin, *self._outputs())
        sys.stdin, sys.stdout, sys.stderr = self._streams
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc, assignment]

    def _threads_survive(self) -> bool:
        return any(thread.is_alive() and thread not in self._threads for thread in threading.enumerate())


def line_buffered(descriptor: int, raw: io.RawIOBase | None = None) -> TextIO:
    """A stream that never fails on a character; closing it leaves the descriptor open. `raw` writes to it."""
    raw = raw or io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _raw_environment() -> dict[Any, Any]:
    """The environment without a conversion of each entry, where this Python lets us see it."""
    raw = getattr(os.environ, "_data", None)
    return raw if isinstance(raw, dict) else dict(os.environ)


def _which(directory: str) -> tuple[int, int, int]:
    status = os.stat(directory)  # noqa: PTH116 - hot path
    return status.st_dev, status.st_ino, status.st_mode


def unread(pipe: int) -> int:
    """Bytes in a pipe, seen from either end."""
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)
    except OSError:
        return 0


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _processes_survive() -> bool:
    """Whether a process that the task started, at any depth, still lives; reaps those that ended."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
