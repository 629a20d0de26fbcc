"""How a connection to the gateway is made: whom to trust, and how long to wait."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from skyward_agent.wire.connection import FrameConnection

_CONNECT_S = 15.0
_HANDSHAKE_S = 10.0


class GatewayConnection(FrameConnection):
    """Also says when the gateway has caught up with what was sent."""

    def __init__(self, on_message: Callable[[Any], None], on_writable: Callable[[], None]) -> None:
        super().__init__(on_message)
        self._on_writable = on_writable

    def resume_writing(self) -> None:
        super().resume_writing()
        self._on_writable()


async def connect(
    address: tuple[str, int],
    context: ssl.SSLContext,
    server_name: str,
    connection: Callable[[], GatewayConnection],
) -> GatewayConnection:
    """Raises OSError (a TLS failure is one) or TimeoutError."""
    host, port = address
    async with asyncio.timeout(_CONNECT_S):
        _, made = await asyncio.get_running_loop().create_connection(
            connection, host, port, ssl=context, server_hostname=server_name, ssl_handshake_timeout=_HANDSHAKE_S
        )
    return made


def pinned_context(authority: str) -> ssl.SSLContext:
    """Accepts only certificates that this authority signed. Raises OSError when it is no certificate."""
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # one pinned authority of our own: no need for its extensions
    return context
