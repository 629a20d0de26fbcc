"""One child process, as the agent holds it: starts it, feeds it, hears it, watches its memory and ends its whole tree.

The socket pair and the two output pipes are read by the event loop directly, so that everything a child wrote before it
answered or died can be taken in before that answer or death is told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from skyward_agent.runner.messages import CHANNEL_LOST, FunctionEnded, RunFunction, RunnerReady
from skyward_agent.runner.output import OutputBuffer
from skyward_agent.runner.tree import kill_trees, memory_of, send_signal, tree_memory, tree_of
from skyward_agent.wire import messages as wire
from skyward_agent.wire.frames import FrameError, decode, encode
from skyward_agent.wire.messages import Failure, Lease
from skyward_agent.wire.stream import FrameSplitter, joined

_READ_BYTES = 64 * 1024
_DRAIN_BYTES = 1024 * 1024
_FUNCTIONS_KEPT = 64
_POLL_S = 0.05
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[4]); from skyward_agent.runner.child import main; "
    "sys.path.append(sys.path.pop(0)); main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"
)


@dataclass(frozen=True, slots=True)
class ChildPlace:
    """Where and with what children are started."""

    python: str
    library: str
    """What `skyward_agent` is imported from: a directory or the agent file."""
    tasks: Path
    """Each attempt gets a directory of its own in here."""
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class ChildEvents:
    """Whom a child's news goes to. Called on the event loop."""

    ready: Callable[[Child], None]
    wrote: Callable[[Child], None]
    ended: Callable[[Child, FunctionEnded, OutputBuffer], None]
    died: Callable[[Child, str, Failure], None]
    """With the attempt's outcome, should nothing else decide it. Last of all news."""


@dataclass(slots=True)
class _Current:
    lease: Lease
    output: OutputBuffer
    began: float
    peak_bytes: int = 0


@dataclass(slots=True)
class _Channel:
    """The agent's end of the socket pair."""

    socket: socket.socket
    splitter: FrameSplitter = field(default_factory=FrameSplitter)
    unsent: deque[memoryview] = field(default_factory=deque)


class Child:
    """Not started before `start`; after `events.died` it is of no more use."""

    def __init__(self, lane: int, number: int, place: ChildPlace, events: ChildEvents) -> None:
        self.lane = lane
        self.number = number
        self.current: _Current | None = None
        self._directory: Path | None = None
        self._place = place
        self._events = events
        self._functions: OrderedDict[str, None] = OrderedDict()
        self._tail = ""
        self._killed = False
        self._oom_kills = 0
        self._oom_counted_at = float("-inf")

    # --- start and end -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Raises OSError when no process can be made."""
        self._loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        command = [self._place.python, "-c", _CODE, str(theirs.fileno()), str(os.getpid()), str(self._place.tasks)]
        try:
            self._process = subprocess.Popen(
                [*command, self._place.library],
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                cwd=self._place.tasks,
                env=self._place.environment,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            theirs.close()
            os.close(out_write)
            os.close(err_write)
        self.pid = self._process.pid
        self._channel = _Channel(ours)
        self._pipes = {out_read: "stdout", err_read: "stderr"}
        self._watch()

    def _watch(self) -> None:
        self._channel.socket.setblocking(False)
        self._loop.add_reader(self._channel.socket, self._hear)
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._read_output, pipe)
        try:
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._pidfd, self._poll_exit)
        except OSError:  # a kernel before 5.3, or a sandbox without it
            self._pidfd = -1
            self._loop.call_later(_POLL_S, self._poll_exit)

    def stop(self, *, kill: bool) -> None:
        """Ask the whole tree to end, or end it."""
        if kill:
            self._killed = True
            kill_trees((self.pid,))
        else:
            for pid in reversed(tree_of(self.pid)):
                send_signal(pid, signal.SIGTERM)

    def _poll_exit(self) -> None:
        code = self._process.poll()
        if code is None:
            if self._pidfd < 0:
                self._loop.call_later(_POLL_S, self._poll_exit)
            return
        self._hear()
        self.drain()
        try:
            os.killpg(self.pid, signal.SIGKILL)  # forks that stayed in its group
        except (ProcessLookupError, PermissionError):
            pass
        self._unwatch()
        outcome, failure = self._cause_of_death(code)
        self._events.died(self, outcome, failure)

    def _unwatch(self) -> None:
        for pipe in self._pipes:
            self._loop.remove_reader(pipe)
            os.close(pipe)
        self._pipes = {}
        self._loop.remove_reader(self._channel.socket)
        self._loop.remove_writer(self._channel.socket)
        self._channel.socket.close()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    # --- attempts ------------------------------------------------------------------------------------------------

    def run(self, lease: Lease, function: bytes, env: dict[str, str], *, memory_limited: bool) -> None:
        """Give the child its next attempt. It must be ready and idle."""
        attempt = lease.id
        directory = self._place.tasks / f"{attempt.task}-{attempt.item}-{attempt.attempt}"
        known = lease.function in self._functions
        self._functions[lease.function] = None
        self._functions.move_to_end(lease.function)
        forget = [self._functions.popitem(last=False)[0]] if len(self._functions) > _FUNCTIONS_KEPT else []
        self.current = _Current(lease, OutputBuffer(attempt, wanted=lease.stream), self._loop.time())
        self._directory = directory
        self._count_oom_kills()
        self._say(
            RunFunction(
                digest=lease.function,
                function=b"" if known else function,
                forget=tuple(forget),
                arguments=lease.arguments,
                directory=str(directory),
                memory_limited=memory_limited,
                env=env,
            )
        )

    @property
    def directories_left(self) -> tuple[Path, ...]:
        """What a dead child may have left on the disk."""
        spare = self._place.tasks / f".spare-{self.pid}"
        return (spare,) if self._directory is None else (spare, self._directory)

    def seconds(self) -> float:
        """How long the current attempt has been with the child."""
        return 0.0 if self.current is None else self._loop.time() - self.current.began

    def over_limit(self, limit_bytes: int) -> int | None:
        """The tree's memory if it is past the limit."""
        used = tree_memory(self.pid, limit_bytes)
        if self.current is not None:
            self.current.peak_bytes = max(self.current.peak_bytes, used)
        return used if used > limit_bytes else None

    def is_bloated(self, limit_bytes: int) -> bool:
        """Whether what an ended attempt left behind takes much of what the next one may use."""
        return memory_of(self.pid) > limit_bytes // 2

    def _say(self, message: RunFunction) -> None:
        self._channel.unsent.extend(memoryview(piece) for piece in joined(encode(message)))
        self._send()

    def _send(self) -> None:
        unsent = self._channel.unsent
        try:
            while unsent:
                sent = self._channel.socket.send(unsent[0], socket.MSG_NOSIGNAL)
                if sent == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][sent:]
        except BlockingIOError:
            self._loop.add_writer(self._channel.socket, self._send)
            return
        except OSError:
            unsent.clear()  # the child is gone or closed its end; its exit tells
        self._loop.remove_writer(self._channel.socket)

    # --- hearing -------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        while True:
            try:
                data = self._channel.socket.recv(_READ_BYTES * 4)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(self._channel.socket)
                self._loop.call_later(1.0, self._end_deaf)
                return
            try:
                for frame in self._channel.splitter.feed(data):
                    self._take(decode(frame))
            except FrameError:
                self.stop(kill=True)  # user code wrote into the channel
                return

    def _end_deaf(self) -> None:
        """A child that closed its end can neither be told nor tell anything."""
        if self._process.poll() is None and self._pipes:
            self.stop(kill=True)

    def _take(self, message: object) -> None:
        if isinstance(message, RunnerReady):
            self._events.ready(self)
        elif isinstance(message, FunctionEnded) and self.current is not None:
            self.drain()
            output, self.current = self.current.output, None
            if message.clean:
                self._directory = None
            self._events.ended(self, message, output)

    def drain(self) -> None:
        """Take in all that was written so far."""
        for pipe in tuple(self._pipes):
            taken = 0
            while taken < _DRAIN_BYTES:
                count = self._read_output(pipe)
                if count == 0:
                    break
                taken += count

    def _read_output(self, pipe: int) -> int:
        try:
            data = os.read(pipe, _READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._loop.remove_reader(pipe)
            return 0
        if self.current is not None:
            self.current.output.add(self._pipes[pipe], data)
            self._events.wrote(self)
        else:
            self._tail = (self._tail + data.decode(errors="replace"))[-2048:]
        return len(data)

    def _count_oom_kills(self) -> None:
        """Where the kernel's counter stands before an attempt; read at most once a second, since it is slow to read."""
        now = self._loop.time()
        if now - self._oom_counted_at >= 1.0:
            self._oom_counted_at = now
            self._oom_kills = _oom_kills()

    # --- death ---------------------------------------------------------------------------------------------------

    def _cause_of_death(self, code: int) -> tuple[str, Failure]:
        current = self.current
        tail = (current.output.tail if current is not None else self._tail).strip()
        evidence = {"last_output": tail} if tail else {}
        if current is not None and current.peak_bytes:
            evidence["peak_bytes"] = str(current.peak_bytes)
        evidence["signal" if code < 0 else "exit_code"] = _signal_name(-code) if code < 0 else str(code)
        if code == -signal.SIGKILL and not self._killed and _oom_kills() > self._oom_kills:
            message = "the node ran out of memory: the kernel ended the process that ran the function"
            return wire.OUT_OF_MEMORY, Failure(wire.OUT_OF_MEMORY, message, evidence=evidence)
        message = "stopped by the agent" if self._killed else _epitaph(code, current is not None, tail)
        return wire.CHILD_DIED, Failure(wire.CHILD_DIED, message, evidence=evidence)


def child_environment(base: dict[str, str], python: str) -> dict[str, str]:
    """The agent's environment as tasks see it: the node's interpreter first on PATH, and nothing meant for the agent."""
    environment = {name: value for name, value in base.items() if name not in ("SKYWARD_POWEROFF", "PYTHONPATH")}
    programs = str(Path(python).parent)
    path = environment.get("PATH", os.defpath)
    environment["PATH"] = path if path.split(os.pathsep)[0] == programs else f"{programs}{os.pathsep}{path}"
    return environment


def _epitaph(code: int, running: bool, tail: str) -> str:
    if not running:
        return f"the runner ended with {code}: {tail.splitlines()[-1] if tail else 'it said nothing'}"
    if code < 0:
        return f"the process that ran the function was ended by {_signal_name(-code)}"
    if code == CHANNEL_LOST:
        return "the function closed the channel between its process and the agent"
    return f"the process that ran the function exited with status {code} without an answer"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _oom_kills() -> int:
    """How often the kernel has ended a process for memory since it booted."""
    try:
        with open("/proc/vmstat") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
    except OSError:
        return 0
