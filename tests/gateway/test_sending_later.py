"""What a peer does not wait for leaves with what it does wait for, or a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from skyward_agent.wire.connection import LATER_S, FrameConnection
from skyward_agent.wire.frames import decode
from skyward_agent.wire.messages import Ping


class Wire(asyncio.Transport):
    """Notes the frames of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[int]] = []
        self.written = asyncio.Event()

    def write(self, data: Any) -> None:
        view, numbers = bytes(data), []
        while view:
            end = 4 + int.from_bytes(view[:4], "big")
            numbers.append(decode(view[4:end]).request)
            view = view[end:]
        self.writes.append(numbers)
        self.written.set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def abort(self) -> None: ...


def run(scenario: Callable[[FrameConnection, Wire], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        wire, connection = Wire(), FrameConnection(lambda message: None)
        connection.connection_made(wire)
        await scenario(connection, wire)

    asyncio.run(main())


def test_it_leaves_with_the_next_message_and_before_it() -> None:
    async def scenario(connection: FrameConnection, wire: Wire) -> None:
        connection.send_later(Ping(1))
        await asyncio.sleep(0)
        assert wire.writes == []

        connection.send(Ping(2))
        await asyncio.sleep(0)

        assert wire.writes == [[1, 2]]

    run(scenario)


def test_it_leaves_by_itself_when_nothing_else_does() -> None:
    async def scenario(connection: FrameConnection, wire: Wire) -> None:
        connection.send_later(Ping(1))
        connection.send_later(Ping(2))
        await wire.written.wait()

        assert wire.writes == [[1, 2]]

    run(scenario)


@pytest.mark.parametrize("end", [FrameConnection.close, lambda connection: connection.connection_lost(None)])
def test_nothing_is_left_to_do_when_the_connection_ends_first(end: Callable[[FrameConnection], None]) -> None:
    async def scenario(connection: FrameConnection, wire: Wire) -> None:
        connection.send_later(Ping(1))
        end(connection)
        written = len(wire.writes)
        await asyncio.sleep(2 * LATER_S)

        assert len(wire.writes) == written

    run(scenario)
