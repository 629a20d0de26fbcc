"""One child process, as the agent holds it: starts it, feeds it, hears it, watches its memory and ends its whole tree.

Its channel and the two output pipes are read by the event loop directly, so that everything a child wrote before it
answered or died can be taken in before that answer or death is told. The pipes never hold output of two attempts: the
child begins the next one when they are empty, and they are read only when it is known which one it is at.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skyward_agent.runner.channel import ON_THE_STREAM, PACKET_BYTES, Channel
from skyward_agent.runner.messages import CHANNEL_LOST, Drained, FunctionEnded, RunFunction, RunnerReady
from skyward_agent.runner.output import OutputBuffer
from skyward_agent.runner.tree import kill_trees, memory_of, send_signal, tree_memory, tree_of
from skyward_agent.wire import messages as wire
from skyward_agent.wire.frames import FrameError, encode
from skyward_agent.wire.messages import AttemptId, Failure, Lease

_READ_BYTES = 64 * 1024
_DRAIN_BYTES = 1024 * 1024
_FUNCTIONS_KEPT = 64
_POLL_S = 0.05
_PAUSE_S = 0.001
"""How long answers of a child that has more to do may wait to be taken in together."""
_MANY = 4
_CODE = (
    "import sys; sys.path.insert(0, sys.argv[4]); from skyward_agent.runner.child import main; "
    "sys.path.append(sys.path.pop(0)); main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[5])"
)


@dataclass(frozen=True, slots=True)
class ChildPlace:
    """Where and with what children are started."""

    python: str
    library: str
    """What `skyward_agent` is imported from: a directory or the agent file."""
    tasks: Path
    """Each attempt gets a directory of its own in here, whose name begins with its child's pid."""
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class ChildEvents:
    """Whom a child's news goes to. Called on the event loop."""

    ready: Callable[[Child], None]
    wrote: Callable[[Child], None]
    ended: Callable[[Child, FunctionEnded, OutputBuffer], None]
    withdrawn: Callable[[Child, tuple[AttemptId, ...]], None]
    """These were taken back from the child, which had not begun them, because it writes output."""
    died: Callable[[Child, str, Failure, tuple[AttemptId, ...]], None]
    """With the attempt's outcome, should nothing else decide it, and what the child had not begun. Last of all news."""


@dataclass(slots=True)
class _Given:
    """One attempt in the hands of the child, or on its way there."""

    lease: Lease
    output: OutputBuffer
    message: list[bytes]
    size: int
    function: str = ""
    """Digest of the function that goes with it."""
    began: float = 0.0
    peak_bytes: int = 0


class Child:
    """Not started before `start`; after `events.died` it is of no more use."""

    def __init__(self, lane: int, number: int, place: ChildPlace, events: ChildEvents) -> None:
        self.lane = lane
        self.number = number
        self._given: deque[_Given] = deque()
        """What the child has, in order; it is at the first, or about to begin it."""
        self._waiting: deque[_Given] = deque()
        """What there is no room for yet."""
        self._heard: deque[object] = deque()
        self._is_held_up = False
        """Nothing more is given to it for now."""
        self._place = place
        self._events = events
        self._functions: OrderedDict[str, None] = OrderedDict()
        self._env: dict[str, str] | None = None
        """What it was given last, if that is known to reach it."""
        self._tail = ""
        self._killed = False
        self._oom_kills = 0
        self._oom_counted_at = float("-inf")

    # --- start and end -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Raises OSError when no process can be made."""
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(self._loop)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        ends = self._channel.child_ends()
        numbers = [str(number) for number in (*ends, os.getpid())]
        command = [self._place.python, "-c", _CODE, *numbers, self._place.library, str(self._place.tasks)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out_write,
                stderr=err_write,
                cwd=self._place.tasks,
                env=self._place.environment,
                pass_fds=ends,
                start_new_session=True,
            )
        except OSError:
            self._channel.close()
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        self.pid = self._process.pid
        self._channel.started(self.hear)
        self._pipes = {out_read: "stdout", err_read: "stderr"}
        self._watch()

    def _watch(self) -> None:
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
        unbegun = self.take_back(for_good=True)
        self._drain()
        try:
            os.killpg(self.pid, signal.SIGKILL)  # forks that stayed in its group
        except (ProcessLookupError, PermissionError):
            pass
        self._unwatch()
        outcome, failure = self._cause_of_death(code)
        self._events.died(self, outcome, failure, unbegun)

    def _unwatch(self) -> None:
        for pipe in self._pipes:
            self._loop.remove_reader(pipe)
            os.close(pipe)
        self._pipes = {}
        self._channel.close()
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    # --- attempts ------------------------------------------------------------------------------------------------

    def run(self, lease: Lease, function: bytes, env: dict[str, str], *, memory_limited: bool) -> None:
        """Give the child another attempt, to begin when those before it have ended. It must be ready."""
        known = lease.function in self._functions
        self._functions[lease.function] = None
        self._functions.move_to_end(lease.function)
        forget = [self._functions.popitem(last=False)[0]] if len(self._functions) > _FUNCTIONS_KEPT else []
        self._count_oom_kills()
        message = encode(
            RunFunction(
                digest=lease.function,
                function=b"" if known else function,
                forget=tuple(forget),
                arguments=lease.arguments,
                memory_limited=memory_limited,
                env=None if env == self._env else env,
            )
        )
        self._env = env
        output = OutputBuffer(lease.id, wanted=lease.stream)
        carried = "" if known else lease.function
        self._waiting.append(_Given(lease, output, message, sum(map(len, message)), carried))
        self._pass_on()

    def _pass_on(self) -> None:
        """As much of what waits as there is room for. What is too large for a packet goes when the child has nothing else."""
        while self._waiting and not self._is_held_up:
            given = self._waiting[0]
            is_large = given.size > PACKET_BYTES
            if self._given and (is_large or self._given[0].size > PACKET_BYTES):
                return
            if not self._channel.give(ON_THE_STREAM if is_large else b"".join(given.message)):
                return
            if is_large:
                self._channel.say_parts(given.message)
            given.message = []
            given.began = self._loop.time()
            self._given.append(self._waiting.popleft())

    def take_back(self, *, for_good: bool = False) -> tuple[AttemptId, ...]:
        """All that the child has not begun, in order. What it has said by now is told first; after that it has one at most."""
        was_held_up, self._is_held_up = self._is_held_up, True
        try:
            is_at_large = len(self._given) == 1 and self._given[0].size > PACKET_BYTES
            count = 0 if is_at_large and not for_good else self._channel.take_back()
            taken = [self._given.pop() for _ in range(min(count, len(self._given)))][::-1]
            self.hear()
            while for_good and len(self._given) > 1:  # user code may have spoilt the channel
                taken.insert(0, self._given.pop())
            taken += self._waiting
            self._waiting.clear()
        finally:
            self._is_held_up = was_held_up or for_good
        self._env = None
        for given in taken:
            self._functions.pop(given.function, None)
        return tuple(given.lease.id for given in taken)

    @property
    def current(self) -> _Given | None:
        """What the child is at, as far as it has been heard."""
        return self._given[0] if self._given else None

    def directories_left(self) -> list[Path]:
        """What a dead child has left on the disk. Looks there."""
        return list(self._place.tasks.glob(f"{self.pid}-*"))

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

    # --- hearing -------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take in what the child has said. While it has much to do that is not noticed at once, but for many at a time."""
        try:
            for message in self._channel.hear():
                self._heard.append(message)
        except EOFError:
            self._channel.deafen()
            self._loop.call_later(1.0, self._end_deaf)
        except FrameError:
            self.stop(kill=True)  # user code wrote into the channel
        else:
            if len(self._given) - len(self._heard) >= _MANY:
                self._channel.deafen()
                self._loop.call_later(_PAUSE_S, self._after_pause)
        while self._heard:  # what comes of one message may have the rest taken in before this goes on
            self._take(self._heard.popleft())

    def _after_pause(self) -> None:
        if self._pipes:
            self._channel.listen()

    def _end_deaf(self) -> None:
        """A child that closed its end can neither be told nor tell anything."""
        if self._process.poll() is None and self._pipes:
            self.stop(kill=True)

    def _take(self, message: object) -> None:
        if isinstance(message, RunnerReady):
            self._events.ready(self)
        elif isinstance(message, FunctionEnded) and self._given:
            if message.wrote or not message.clean:
                self._drain()
            output = self._given.popleft().output
            if not message.clean:
                self._is_held_up = True
            elif message.wrote:
                self._channel.say(Drained())
            if self._given:
                self._given[0].began = self._loop.time()
            self._pass_on()
            self._events.ended(self, message, output)

    def _drain(self) -> None:
        """Take in all that the attempt wrote so far."""
        for pipe in tuple(self._pipes):
            taken = 0
            while taken < _DRAIN_BYTES:
                count = self._read(pipe)
                if count == 0:
                    break
                taken += count

    def _read_output(self, pipe: int) -> None:
        """The child writes: have it do nothing else until that is read, so that it is known whose output it is."""
        if len(self._given) + len(self._waiting) > 1:
            self._events.withdrawn(self, self.take_back())
        else:
            self.hear()
        if pipe in self._pipes:
            self._read(pipe)

    def _read(self, pipe: int) -> int:
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
