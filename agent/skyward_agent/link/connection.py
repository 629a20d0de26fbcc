"""One connection to the gateway: frames in and out, with a bounded amount waiting to go."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from skyward_agent.wire.frames import FrameError, decode, encode
from skyward_agent.wire.stream import FrameSplitter

_WRITE_BUFFER_BYTES = 2 * 1024 * 1024


class Connection(asyncio.Protocol):
    """Calls `heard` for each message and `writable` when it takes more; `lost` is done once it is over."""

    def __init__(self, heard: Callable[[Any], None], writable: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.last_heard = loop.time()
        self.is_paused = False
        self._loop = loop
        self._heard = heard
        self._writable = writable
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport | None = None
        self._reason = "the gateway closed the connection"

    def send(self, message: object) -> None:
        """Nothing happens once the connection is lost: `lost` tells."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(encode(message))

    def close(self, reason: str) -> None:
        """Break off at once, even if the other side does not read."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self.last_heard = self._loop.time()
        try:
            for frame in self._splitter.feed(data):
                self._heard(decode(frame))
        except FrameError as error:
            self.close(f"the gateway sent something that is no frame: {error}")

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self._writable()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if not self.lost.done():
            self.lost.set_result(self._reason if error is None else f"{type(error).__name__}: {error}")


async def connect(
    address: tuple[str, int],
    context: ssl.SSLContext,
    server_name: str,
    connection: Callable[[], Connection],
) -> Connection:
    """Raises OSError (a TLS failure is one) or TimeoutError."""
    host, port = address
    async with asyncio.timeout(15):
        _, made = await asyncio.get_running_loop().create_connection(
            connection, host, port, ssl=context, server_hostname=server_name, ssl_handshake_timeout=10
        )
    return made


def pinned_context(authority: str) -> ssl.SSLContext:
    """Accepts only certificates that this authority signed. Raises OSError when it is no certificate."""
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # one pinned authority of our own: no need for its extensions
    return context
