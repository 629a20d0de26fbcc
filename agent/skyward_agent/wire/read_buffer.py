"""How much memory a TLS connection reads into. asyncio gives each one 256 KiB, from its first byte to its last, and an operator
has a thousand connections on which nearly nothing is said. They begin with less, and those that carry much get more.

Where the event loop keeps its buffers otherwise, nothing is changed and nothing is wrong.
"""

from __future__ import annotations

import asyncio
from typing import Any

QUIET_BYTES = 20 * 1024
"""One TLS record, and what surrounds it."""
BUSY_BYTES = 256 * 1024


def read_little(transport: asyncio.BaseTransport) -> None:
    """To be called between two reads: what was read has been taken out."""
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if isinstance(getattr(protocol, "_ssl_buffer", None), bytearray):
        protocol.max_size = QUIET_BYTES
        protocol._ssl_buffer = bytearray(QUIET_BYTES)
        protocol._ssl_buffer_view = memoryview(protocol._ssl_buffer)


def read_much(transport: asyncio.BaseTransport | None) -> None:
    """From the next read on."""
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if isinstance(getattr(protocol, "_ssl_buffer", None), bytearray):
        protocol.max_size = BUSY_BYTES
