"""One standing connection: whole messages in, whole messages out, over any asyncio transport.

Bytes are read straight into the frame they belong to, so a large payload is copied once. What is sent within one turn
of the event loop leaves in few writes, and no faster than the peer reads: TLS would encrypt a large payload whole, in
one go, before its first byte left. Nothing here knows what a message means.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from skyward_agent.wire.frames import MAX_FRAME_BYTES, FrameError, decode, encode, frame_length
from skyward_agent.wire.read_buffer import CHUNK_BYTES, QUIET_BYTES, read_little, read_much, read_room

GREETING_LIMIT_BYTES = 256 * 1024
"""The largest frame taken from a peer that has not said who it is: an agent's greeting names every attempt it holds."""
_PREFIX = 4
_WRITE_BYTES = 256 * 1024
_LITTLE_BYTES = 64 * 1024
_PART_BYTES = 8 * 1024
"""TLS keeps as much memory as was ever written to it at once: it gets a little in small parts."""
_HIGH_WATER_BYTES = 1024 * 1024
LATER_S = 0.002


class FrameConnection(asyncio.BufferedProtocol):
    """Protocol of one connection. `on_message` is called for each message, in order, on the event loop; it must not block.

    A peer that breaks the protocol is cut off, and `error` says why. `closed` is set once the connection is gone,
    whoever ended it.
    """

    def __init__(self, on_message: Callable[[Any], None], *, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        loop = asyncio.get_running_loop()
        self.on_message = on_message
        self.on_connected: Callable[[], None] | None = None
        self.limit_bytes = limit_bytes
        self.closed = asyncio.Event()
        self.error: Exception | None = None
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._room = read_room(loop)
        self._chunk: memoryview | None = None
        """What this connection reads into: the beginning of a frame, or nothing yet."""
        self._filled = 0
        self._large: memoryview | None = None
        self._large_filled = 0
        self._outgoing: deque[bytes | memoryview] = deque()
        self._outgoing_bytes = 0
        self._is_flushing = False
        self._later: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing = False
        self._alive_at = loop.time()
        self._unsent = 0

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """Queue one message; it leaves at the end of this turn of the loop. Nothing happens on a closed connection.

        Raises FrameError for a message over the limit. Senders of much look at `is_congested` or await `writable`.
        """
        if self._put(message) and not self._is_flushing and not self._is_paused:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def send_later(self, message: Any) -> None:
        """As `send`, for what the peer does not wait for: it leaves with whatever is sent next, or `LATER_S` from now. To be
        woken costs the peer more than to read."""
        if self._put(message) and not self._is_flushing and not self._is_paused and self._later is None:
            self._later = self._loop.call_later(LATER_S, self._flush)

    def _put(self, message: Any) -> bool:
        if self._closing or self._transport is None:
            return False
        for part in encode(message):
            self._outgoing.append(part)
            self._outgoing_bytes += len(part)
        return True

    @property
    def is_congested(self) -> bool:
        """The peer reads more slowly than we write."""
        return not self._writable.is_set()

    async def writable(self) -> None:
        """Wait until the peer has caught up, or the connection is gone."""
        await self._writable.wait()

    def _flush(self) -> None:
        self._is_flushing = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        transport = self._transport
        if transport is None or transport.is_closing():
            self._outgoing.clear()
            self._outgoing_bytes = 0
            return
        while self._outgoing and not self._is_paused:
            transport.write(self._next_piece())
        if self._outgoing:
            self._writable.clear()
        elif not self._is_paused:
            self._writable.set()

    def _next_piece(self) -> bytes | memoryview:
        """Small parts together, or a piece of a large one."""
        limit = _WRITE_BYTES if self._outgoing_bytes > _LITTLE_BYTES else _PART_BYTES
        small: list[bytes | memoryview] = []
        size = 0
        while self._outgoing and size + len(self._outgoing[0]) <= limit:
            part = self._outgoing.popleft()
            small.append(part)
            size += len(part)
        if not small:
            large = memoryview(self._outgoing.popleft())
            self._outgoing.appendleft(large[limit:])
            small.append(large[:limit])
            size = limit
        self._outgoing_bytes -= size
        return small[0] if len(small) == 1 else b"".join(small)

    # --- life ----------------------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        return self._closing

    def silent_s(self) -> float:
        """Seconds since the peer last gave a sign of life: bytes that came, or bytes of ours that it took."""
        unsent = self._outgoing_bytes
        if self._transport is not None:
            unsent += self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._alive_at = self._loop.time()
        self._unsent = unsent
        return self._loop.time() - self._alive_at

    def pause_reading(self) -> None:
        if self._transport is not None and not self._closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._closing:
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what is queued, then hang up. Idempotent."""
        if not self._closing and self._transport is not None:
            while self._outgoing:
                self._transport.write(self._next_piece())
            self._closing = True  # to close reads what has come: nobody hears it any more
            self._transport.close()
        self._closing = True

    def abort(self, error: Exception | None = None) -> None:
        """Hang up at once. Idempotent."""
        self.error = self.error or error
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    async def hang_up(self, seconds: float = 1.0) -> None:
        """Close, and wait until the connection is gone: politely for that long, then at once."""
        self.close()
        if self._transport is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        except TimeoutError:
            self.abort()
            await self.closed.wait()

    # --- what the transport calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        read_little(transport, self._room)
        self._alive_at = self._loop.time()
        if self.on_connected is not None:
            self.on_connected()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.error = self.error or exc
        self._outgoing.clear()
        self._outgoing_bytes = 0
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._writable.set()
        self.closed.set()

    def pause_writing(self) -> None:
        self._is_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        self._is_paused = False
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._large is not None:
            return self._large[self._large_filled :]
        if self._chunk is None:
            self._chunk = self._room.take()
        return self._chunk[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._alive_at = self._loop.time()
        try:
            if self._large is not None:
                self._large_filled += nbytes
                self._take_large(self._large)
            elif self._chunk is not None:
                self._filled += nbytes
                self._take_frames(self._chunk)
                if self._filled == 0:
                    self._room.give(self._chunk)
                    self._chunk = None
        except FrameError as error:
            self.abort(error)

    def _take_large(self, frame: memoryview) -> None:
        if self._large_filled == len(frame):
            self._large = None
            self._dispatch(frame)

    def _take_frames(self, chunk: memoryview) -> None:
        start = 0
        while self._filled - start >= _PREFIX and not self._closing:
            length = frame_length(bytes(chunk[start : start + _PREFIX]))
            if length > self.limit_bytes:
                raise FrameError(f"a frame of {length} bytes is over this connection's limit of {self.limit_bytes}")
            body = start + _PREFIX
            if body + length > self._filled:
                if _PREFIX + length > CHUNK_BYTES:
                    self._begin_large(chunk[body : self._filled], length)
                    return
                break
            start = body + length
            self._dispatch(chunk[body:start])
        rest = self._filled - start
        if start and rest:
            chunk[:rest] = bytes(chunk[start : self._filled])
        self._filled = rest

    def _begin_large(self, begun: memoryview, length: int) -> None:
        """The frame does not fit the chunk: read the rest of it into memory of its own."""
        if length > QUIET_BYTES:
            read_much(self._transport)
        self._large = memoryview(bytearray(length))
        self._large_filled = len(begun)
        self._large[: self._large_filled] = begun
        self._filled = 0

    def _dispatch(self, frame: memoryview) -> None:
        if not self._closing:
            self.on_message(decode(frame))
