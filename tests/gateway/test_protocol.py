from __future__ import annotations

import asyncio
import random
import struct
from typing import Any

import pytest

from skyward_agent.wire.connection import GREETING_LIMIT_BYTES, FrameConnection
from skyward_agent.wire.frames import FrameError, encode
from skyward_agent.wire.messages import ClientWelcome, Output, Outputs, Ping, Pong, Refused, Submitted, Want
from tests.gateway.world import RawPeer, agent_hello, client_hello, running_world


async def send_raw(world: Any, data: bytes) -> RawPeer:
    peer = await RawPeer().connect(world)
    assert peer.live._transport is not None
    peer.live._transport.write(data)
    return peer


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        random.Random(1).randbytes(4096),
        struct.pack("!I", 0),
        struct.pack("!I", 2**31) + b"x",
        struct.pack("!I", GREETING_LIMIT_BYTES + 1) + b"x",
        struct.pack("!II", 8, 4) + b"null",
        struct.pack("!II", 8, 2**31) + b"null",
        struct.pack("!II", 20, 16) + b'["Unknown",{},[]]'[:16],
    ],
    ids=["http", "random", "zero", "huge", "over the limit", "no message", "wrong header length", "cut json"],
)
def test_garbage_is_cut_off(data: bytes) -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await send_raw(world, data)

            await peer.is_cut_off()

            assert peer.heard == []

    asyncio.run(main())


def test_a_first_message_that_is_no_greeting_is_cut_off() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await RawPeer().connect(world, Want(1))

            await peer.is_cut_off()

    asyncio.run(main())


def test_whoever_says_nothing_is_cut_off() -> None:
    async def main() -> None:
        async with running_world(greeting_s=0.1) as world:
            peer = await RawPeer().connect(world)

            await peer.is_cut_off()

    asyncio.run(main())


@pytest.mark.parametrize(
    "greeting", [client_hello("wrong"), agent_hello("uid-n1", token="wrong")], ids=["client", "agent"]
)
def test_a_wrong_token_is_refused_and_cut_off(greeting: Any) -> None:
    async def main() -> None:
        async with running_world() as world:
            world.add_node("n1")

            peer = await RawPeer().connect(world, greeting)

            assert (await peer.hears(Refused)).error == "Unauthenticated"
            await peer.is_cut_off()

    asyncio.run(main())


def test_a_client_that_speaks_like_an_agent_is_cut_off() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await RawPeer().connect(world, client_hello())
            await peer.hears(ClientWelcome)

            peer.send(Want(1))

            await peer.is_cut_off()

    asyncio.run(main())


def test_plain_text_reaches_nobody() -> None:
    async def main() -> None:
        async with running_world() as world:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(b"".join(encode(client_hello())))

            answer = await reader.read()

            assert b"ClientWelcome" not in answer
            writer.close()

    asyncio.run(main())


def test_everything_is_closed_when_the_gateway_stops() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await RawPeer().connect(world, client_hello())
            await peer.hears(ClientWelcome)

            await world.stop()

            await peer.is_cut_off()

    asyncio.run(main())


# --- frames in pieces ------------------------------------------------------------------------------------------------


def feed(connection: FrameConnection, data: bytes, piece: int) -> None:
    for start in range(0, len(data), piece):
        rest = data[start : start + piece]
        while rest:
            room = connection.get_buffer(-1)
            taken = min(len(room), len(rest))
            room[:taken] = rest[:taken]
            connection.buffer_updated(taken)
            rest = rest[taken:]


@pytest.mark.parametrize("piece", [1, 3, 4, 5, 1000, 16_383, 16_384, 1_000_000])
def test_messages_come_whole_however_the_bytes_are_cut(piece: int) -> None:
    sizes = (0, 1, 16_000, 16_384, 20_000, 7, 100_000) if piece > 100 else (0, 1, 40, 17_000, 3)
    messages = [Outputs((Output("t", 0, 1, n, "stdout", b"z" * size),)) for n, size in enumerate(sizes)]
    messages.insert(2, Submitted(1, "t", "n", 1))  # type: ignore[arg-type]
    data = b"".join(part for message in messages for part in encode(message))

    async def main() -> None:
        heard: list[Any] = []
        connection = FrameConnection(heard.append)

        feed(connection, data, piece)

        assert heard == messages

    asyncio.run(main())


def test_a_message_that_may_not_be_sent_is_refused_here_and_harms_nothing() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await RawPeer().connect(world, client_hello())
            await peer.hears(ClientWelcome)

            with pytest.raises(FrameError, match="over the limit"):
                peer.send(Outputs((Output("t", 0, 1, 0, "stdout", bytes(257 * 1024 * 1024)),)))
            peer.send(Ping(5))

            assert (await peer.hears(Pong)).request == 5

    asyncio.run(main())
