"""Memory of TLS connections: little while they are quiet."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from skyward_agent.wire import messages as wire
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.frames import encode
from skyward_agent.wire.read_buffer import BUSY_BYTES, QUIET_BYTES
from tests.agent.gateway import SERVER_NAME, Authority


def test_a_quiet_tls_connection_reads_into_little_memory_and_one_with_much_to_read_gets_more(
    authority: Authority,
) -> None:
    async def body() -> None:
        heard: asyncio.Queue[int] = asyncio.Queue()
        accepted: list[FrameConnection] = []

        def take(message: object) -> None:
            assert isinstance(message, wire.Function)
            heard.put_nowait(len(message.data))

        def accept() -> FrameConnection:
            accepted.append(FrameConnection(take))
            return accepted[0]

        loop = asyncio.get_running_loop()
        server = await loop.create_server(accept, "127.0.0.1", 0, ssl=authority.context)
        port = server.sockets[0].getsockname()[1]
        trust = ssl.create_default_context(cadata=authority.pem)
        _, client = await loop.create_connection(
            lambda: FrameConnection(take), "127.0.0.1", port, ssl=trust, server_hostname=SERVER_NAME
        )
        buffers = []
        for size in (10, 3_000_000, 10):
            client.send(wire.Function("digest", b"x" * size))
            assert await heard.get() == size
            buffers.append(len(accepted[0]._transport._ssl_protocol._ssl_buffer))  # type: ignore[union-attr]
        client.close()
        await accepted[0].closed.wait()
        server.close()

        assert buffers == [QUIET_BYTES, BUSY_BYTES, BUSY_BYTES]

    asyncio.run(body())


def test_connections_read_into_the_same_memory_in_turn_and_what_is_unfinished_stays() -> None:
    async def body() -> None:
        heard: list[tuple[str, object]] = []
        quiet = FrameConnection(lambda message: heard.append(("a", message)))
        other = FrameConnection(lambda message: heard.append(("b", message)))
        first, second = (b"".join(encode(wire.Function("digest", data * 100))) for data in (b"x", b"y"))

        put(quiet, first + first[:50])
        put(other, second)
        put(other, second + second)
        put(quiet, first[50:])

        names = [(name, cast(wire.Function, message).data[:1]) for name, message in heard]
        assert names == [("a", b"x"), ("b", b"y"), ("b", b"y"), ("b", b"y"), ("a", b"x")]
        assert quiet._chunk is other._chunk is None
        assert quiet.get_buffer(-1).obj is not other.get_buffer(-1).obj

    asyncio.run(body())


def put(connection: FrameConnection, data: bytes) -> None:
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))
