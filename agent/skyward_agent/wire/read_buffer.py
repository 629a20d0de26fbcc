"""How much memory connections read into. asyncio gives each TLS connection 256 KiB, from its first byte to its last, and an
operator has a thousand connections on which nearly nothing is said. What they read is taken out at once, so all of one event
loop use the same memory in turn; those that carry much get some of their own.

Where the event loop keeps its buffers otherwise, nothing is changed and nothing is wrong.
"""

from __future__ import annotations

import asyncio
from asyncio import sslproto
from typing import Any
from weakref import WeakKeyDictionary

CHUNK_BYTES = 16 * 1024
QUIET_BYTES = 20 * 1024
"""One TLS record, and what surrounds it."""
BUSY_BYTES = 256 * 1024


class ReadRoom:
    """The memory of one event loop's connections."""

    def __init__(self) -> None:
        self.encrypted = bytearray(QUIET_BYTES)
        """Emptied by whoever read into it before anything else happens."""
        self._spare: memoryview | None = None

    def take(self) -> memoryview:
        """Memory for one connection, until it gives it back."""
        chunk, self._spare = self._spare, None
        return memoryview(bytearray(CHUNK_BYTES)) if chunk is None else chunk

    def give(self, chunk: memoryview) -> None:
        self._spare = chunk


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, ReadRoom] = WeakKeyDictionary()


def read_room(loop: asyncio.AbstractEventLoop) -> ReadRoom:
    room = _rooms.get(loop)
    if room is None:
        room = _rooms[loop] = ReadRoom()
    return room


def begin_with_little() -> None:
    """From now on every TLS connection of this process begins with little memory, as `read_little` asks for later. For a process
    that takes in many: what they begin with is freed in pieces too small and too scattered to be given back to the system."""
    protocol: Any = sslproto.SSLProtocol
    if isinstance(getattr(protocol, "max_size", None), int):
        protocol.max_size = QUIET_BYTES


def read_little(transport: asyncio.BaseTransport, room: ReadRoom) -> None:
    """To be called between two reads: what was read has been taken out."""
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if isinstance(getattr(protocol, "_ssl_buffer", None), bytearray):
        protocol.max_size = QUIET_BYTES
        protocol._ssl_buffer = room.encrypted
        protocol._ssl_buffer_view = memoryview(protocol._ssl_buffer)


def read_much(transport: asyncio.BaseTransport | None) -> None:
    """From the next read on."""
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if isinstance(getattr(protocol, "_ssl_buffer", None), bytearray):
        protocol.max_size = BUSY_BYTES
