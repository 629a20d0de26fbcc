"""What one child is given, says and writes, whatever it is made of: a process of its own, or a thread among others.

Its channel and the two output pipes are read by the event loop directly, so that everything a child wrote before it
answered or died can be taken in before that answer or death is told. The pipes never hold output of two attempts: the
child begins the next one when they are empty, and they are read only when it is known which one it is at.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skyward_agent.runner.channel import ON_THE_STREAM, PACKET_BYTES, Channel
from skyward_agent.runner.messages import Drained, FunctionEnded, Room, RunFunction, RunnerReady, Yielded
from skyward_agent.runner.output import OutputBuffer
from skyward_agent.wire.frames import FrameError, encode
from skyward_agent.wire.messages import AttemptId, Failure, Lease
from skyward_agent.wire.records import record

_READ_BYTES = 64 * 1024
_DRAIN_BYTES = 1024 * 1024
_FUNCTIONS_KEPT = 64
_TAIL = 2048
_PAUSE_S = 0.001
"""How long answers of a child that has more to do may wait to be taken in together."""
_MANY = 4


@record(frozen=True, slots=True)
class ChildEvents:
    """Whom a child's news goes to. Called on the event loop, with the child first."""

    ready: Callable[[Any], None]
    wrote: Callable[[Any], None]
    ended: Callable[[Any, FunctionEnded, OutputBuffer], None]
    withdrawn: Callable[[Any, tuple[AttemptId, ...]], None]
    """These were taken back from the child, which had not begun them, because it writes output."""
    died: Callable[[Any, str, Failure, tuple[AttemptId, ...]], None]
    """With the attempt's outcome, should nothing else decide it, and what the child had not begun. Last of all news."""
    yielded: Callable[[Any, Yielded], None] = lambda child, made: None
    """The function that it is at yielded a value; all output from before is taken in."""


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


class Conversation:
    """The agent's end. Who inherits says how its child is started, stopped and known to be dead."""

    def __init__(self, lane: int, number: int, events: ChildEvents) -> None:
        self.lane = lane
        self.number = number
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._channel = Channel(self._loop)
        self._given: deque[_Given] = deque()
        """What the child has, in order; it is at the first, or about to begin it."""
        self._waiting: deque[_Given] = deque()
        """What there is no room for yet."""
        self._heard: deque[object] = deque()
        self._is_held_up = False
        """Nothing more is given to it for now."""
        self._stream = 0
        """Of what it yields, the latest."""
        self._functions: OrderedDict[str, None] = OrderedDict()
        self._env: dict[str, str] | None = None
        """What it was given last, if that is known to reach it."""
        self._tail = ""
        self._pipes: dict[int, str] = {}

    def stop(self, *, kill: bool) -> None:
        """Ask the child and all that it started to end, or end it. Repeats are harmless."""
        raise NotImplementedError

    def is_alive(self) -> bool:
        raise NotImplementedError

    def _converse(self, out_read: int, err_read: int) -> None:
        """The child has its ends of the channel and of these pipes."""
        self._channel.started(self.hear)
        self._pipes = {out_read: "stdout", err_read: "stderr"}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._read_output, pipe)

    def _hang_up(self) -> tuple[AttemptId, ...]:
        """The child is gone: take in its last words. Returns what it never began."""
        unbegun = self.take_back(for_good=True)
        self._drain()
        for pipe in self._pipes:
            self._loop.remove_reader(pipe)
            os.close(pipe)
        self._pipes = {}
        self._channel.close()
        return unbegun

    # --- attempts ------------------------------------------------------------------------------------------------

    def run(
        self, lease: Lease, function: bytes, env: dict[str, str], *, memory_limited: bool, refusal: str = ""
    ) -> None:
        """Give the child another attempt, to begin when those before it have ended. It must be ready."""
        known = lease.function in self._functions
        self._functions[lease.function] = None
        self._functions.move_to_end(lease.function)
        forget = [self._functions.popitem(last=False)[0]] if len(self._functions) > _FUNCTIONS_KEPT else []
        message = encode(
            RunFunction(
                digest=lease.function,
                function=b"" if known else function,
                forget=tuple(forget),
                arguments=lease.arguments,
                memory_limited=memory_limited,
                env=None if env == self._env else env,
                refusal=refusal,
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

    def grant(self, attempt: AttemptId, received: int, until: int) -> None:
        """Let a generator that has yielded go on, if the child is at this attempt."""
        if self.current is not None and self.current.lease.id == attempt:
            self._channel.say(Room(self._stream, received, until))

    def seconds(self) -> float:
        """How long the current attempt has been with the child."""
        return 0.0 if self.current is None else self._loop.time() - self.current.began

    # --- hearing -------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take in what the child has said. While it has much to do that is not noticed at once, but for many at a time."""
        try:
            for message in self._channel.hear():
                self._heard.append(message)
        except EOFError:
            self._channel.deafen()
            self._lost()
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

    def _lost(self) -> None:
        """It closed its end of the channel."""
        self._loop.call_later(1.0, self._end_deaf)

    def _end_deaf(self) -> None:
        """A child that closed its end can neither be told nor tell anything."""
        if self._pipes and self.is_alive():
            self.stop(kill=True)

    def _take(self, message: object) -> None:
        if isinstance(message, RunnerReady):
            self._events.ready(self)
        elif isinstance(message, Yielded) and self._given:
            if message.wrote:
                self._drain()
                self._channel.say(Drained())
            self._stream = message.stream
            self._events.yielded(self, message)
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
            self._tail = (self._tail + data.decode(errors="replace"))[-_TAIL:]
        return len(data)
