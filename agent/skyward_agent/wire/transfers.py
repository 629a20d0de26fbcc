"""Blobs over one connection, both ways: chunk by chunk, no faster than the receiver takes them, from where it stopped before.

The receiver asks and gives credit, so nothing is held that nobody takes, and after a cut only the receiver knows how far
it was: the sender has no memory to lose.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import Chunk, Fetch, More, Placed, Unavailable

WINDOW_BYTES = 8 * 1024 * 1024
"""What may be under way of one blob."""
CHUNK_BYTES = 1024 * 1024
_AT_ONCE = 4
"""Blobs fetched at the same time over one connection; others wait their turn."""
_ALIASED_BYTES = 64 * 1024
"""A chunk below this may lie in memory that its connection uses again."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class TransferError(Exception):
    """The blob did not come. `kind` names a class of `skyward.errors`; empty when only this connection failed."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Source(Protocol):
    """A blob that can be read, or will be as its bytes come."""

    @property
    def size(self) -> int: ...

    async def read(self, offset: int, count: int) -> bytes | memoryview:
        """Some bytes from there, one at least: waits for those that are still on the way. Raises TransferError."""
        ...

    async def place(self) -> str:
        """The name of a file with it in the shared directory, once it is whole; empty when it cannot be handed over. Raises
        TransferError."""
        ...


class Part(Protocol):
    """A blob that comes; it takes bytes in order."""

    @property
    def received(self) -> int: ...

    async def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        """Raises TransferError."""
        ...


class BlobSender:
    """Answers the other side's questions. `find` raises TransferError for a blob that is not to be had; `link` tells an address
    of one that it found, or nothing."""

    def __init__(
        self,
        connection: FrameConnection,
        find: Callable[[Fetch], Awaitable[Source]],
        spawn: Spawn,
        link: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self._connection = connection
        self._find = find
        self._link = link
        self._spawn = spawn
        self._pumps: dict[str, _Pump] = {}

    def handle(self, message: Fetch | More) -> None:
        pump = self._pumps.get(message.digest)
        if isinstance(message, More):
            if pump is not None:
                pump.go_on(message.until)
            return
        if pump is not None:
            pump.is_over = True
            pump.wake.set()
        pump = self._pumps[message.digest] = _Pump(message)
        self._spawn(self._run(pump))

    async def _run(self, pump: _Pump) -> None:
        digest = pump.asked.digest
        try:
            source = await self._find(pump.asked)
            name = await source.place() if pump.asked.shared else ""
            url = await self._link(digest) if self._link and pump.asked.direct and not name else ""
            if name or url:
                self._connection.send(Placed(digest, name, url))
            else:
                await self._pump(pump, source)
        except TransferError as error:
            self._connection.send(Unavailable(digest, error.kind or "TaskError", str(error)))
        finally:
            if self._pumps.get(digest) is pump:
                del self._pumps[digest]

    async def _pump(self, pump: _Pump, source: Source) -> None:
        connection = self._connection
        while pump.offset < source.size:
            await connection.writable()
            if connection.is_closed or pump.is_over:
                return
            allowed = min(pump.until, source.size) - pump.offset
            if allowed <= 0:
                pump.wake.clear()
                await _first(pump.wake, connection.closed)
                continue
            data = memoryview(await source.read(pump.offset, min(allowed, CHUNK_BYTES)))
            connection.send(Chunk(pump.asked.digest, pump.offset, data))
            pump.offset += len(data)


class _Pump:
    def __init__(self, asked: Fetch) -> None:
        self.asked = asked
        self.offset = asked.offset
        self.until = asked.until
        self.is_over = False
        self.wake = asyncio.Event()

    def go_on(self, until: int) -> None:
        self.until = max(self.until, until)
        self.wake.set()


class BlobReceiver:
    """Asks for blobs over one connection. `is_shared`: files may be handed over; `is_direct`: so may addresses."""

    def __init__(self, send: Callable[[Any], None], *, is_shared: bool = False, is_direct: bool = False) -> None:
        self._send = send
        self._is_shared = is_shared
        self._is_direct = is_direct
        self._coming: dict[str, _Coming] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.is_lost = False

    def handle(self, message: Chunk | Placed | Unavailable) -> None:
        """What comes of a blob that nobody waits for any more is passed over."""
        coming = self._coming.get(message.digest)
        if coming is None:
            return
        match message:
            case Chunk(offset=offset, data=data):
                if offset != coming.expected:
                    return  # of an earlier question
                coming.expected += len(data)
                coming.chunks.append(bytes(data) if len(data) < _ALIASED_BYTES else data)
            case Placed(name=name, url=url):
                coming.placed = name or url
            case Unavailable(error=kind, message=text):
                coming.error = TransferError(text, kind)
        coming.news.set()

    def lost(self) -> None:
        """The connection is gone: nothing more comes."""
        self.is_lost = True
        for coming in self._coming.values():
            coming.error = coming.error or TransferError("the connection was lost")
            coming.news.set()

    async def fetch(self, digest: str, size: int, part: Part, *, is_shared: bool | None = None) -> str:
        """Fill the part, from where it is; returns when it holds it all, or at once with the name of a file that was handed
        over, or an address; with `is_shared` False neither is asked for. One call at a time for one blob. Raises TransferError;
        what came by then stays in the part."""
        async with self._turns:
            if self.is_lost:
                raise TransferError("the connection was lost")
            if part.received >= size:
                return ""
            coming = self._coming[digest] = _Coming(part.received)
            wants_file = self._is_shared if is_shared is None else is_shared
            asked = Fetch(digest, part.received, 0, wants_file, self._is_direct and is_shared is None)
            try:
                return await self._take(asked, size, part, coming)
            finally:
                if self._coming.get(digest) is coming:
                    del self._coming[digest]

    async def _take(self, asked: Fetch, size: int, part: Part, coming: _Coming) -> str:
        until = min(size, part.received + WINDOW_BYTES)
        self._send(replace(asked, until=until))
        while part.received < size:
            await coming.news.wait()
            coming.news.clear()
            if coming.placed:
                return coming.placed
            chunks = tuple(coming.chunks)
            coming.chunks.clear()
            if chunks:
                await part.append(chunks)
            elif coming.error is not None:
                raise coming.error
            if coming.error is not None:
                coming.news.set()
            if until < size and until - part.received <= WINDOW_BYTES // 2:
                until = min(size, part.received + WINDOW_BYTES)
                self._send(More(asked.digest, until))
        return ""


class _Coming:
    def __init__(self, received: int) -> None:
        self.expected = received
        self.chunks: deque[bytes | memoryview] = deque()
        self.placed = ""
        self.error: TransferError | None = None
        self.news = asyncio.Event()


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
