"""What a generator function yields, on its way out of the process that runs it: one value after the other, no further ahead
than whoever iterates has room for, and in order with what the function prints."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from skyward_agent.runner.channel import ChildChannel
from skyward_agent.runner.messages import Drained, Room, Yielded
from skyward_agent.runner.parcels import Parcels

AHEAD = 4
"""Values that may be made before anybody has asked for one."""
_OVER = object()


class NotAGenerator(TypeError):
    """The caller iterates over something that yields nothing."""


class Outlet:
    def __init__(self, channel: ChildChannel, parcels: Parcels, has_output: Callable[[], bool]) -> None:
        """`has_output` writes out what is buffered, and tells whether there is output that the agent has not read."""
        self._channel = channel
        self._parcels = parcels
        self._has_output = has_output
        self._stream = 0
        self._said = self._received = self._until = 0
        self._is_drained = True

    def _begin(self) -> None:
        self._stream += 1
        self._said = 0
        self._received = 0
        self._until = AHEAD
        self._is_drained = True

    def drain(self, produced: object) -> object:
        """Send all that it yields, wait until all of it was taken, and give what it returns. Raises what it raises."""
        self._begin()
        try:
            if isinstance(produced, AsyncGenerator):
                return self._drain_async(produced)
            if isinstance(produced, Generator):
                return self._drain_sync(produced)
            raise NotAGenerator(f"a generator was expected, and the function returned a {type(produced).__qualname__}")
        finally:
            while self._received < self._said:
                self._hear()

    def _drain_sync(self, produced: Generator[Any, None, Any]) -> object:
        while True:
            self._await_room()
            try:
                value = next(produced)
            except StopIteration as stop:
                return stop.value
            self._say(value)

    def _drain_async(self, produced: AsyncGenerator[Any, None]) -> object:
        """Its event loop runs while a value is being made, and stands while there is no room for another."""
        with asyncio.Runner() as runner:
            while True:
                self._await_room()
                value = runner.run(_next(produced))
                if value is _OVER:
                    return None
                self._say(value)

    def _say(self, value: object) -> None:
        packed = self._parcels.pack(value)
        wrote = self._has_output()
        self._channel.say(Yielded(self._said, packed, wrote, self._stream))
        self._said += 1
        self._is_drained = not wrote
        while not self._is_drained:
            self._hear()

    def _await_room(self) -> None:
        while self._said >= self._until:
            self._hear()

    def _hear(self) -> None:
        match self._channel.hear(rooms=True):
            case Room(stream=stream, received=received, until=until) if stream == self._stream:
                self._received = max(self._received, received)
                self._until = max(self._until, until)
            case Drained():
                self._is_drained = True


async def _next(produced: AsyncGenerator[Any, None]) -> object:
    return await anext(produced, _OVER)
