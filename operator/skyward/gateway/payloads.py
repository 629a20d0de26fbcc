"""Large payloads on their way through: asked for where they come from, read while they arrive, kept while a task names them.

A blob comes once, however many ask for it. Whoever wants it reads what is there and waits for the rest, so an agent begins
before the client has ended. A source that goes away leaves what it brought; another one, or the same, goes on from there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager

import structlog

from skyward.contracts import Arrival, Blobs, Clock, TaskQueue
from skyward.errors import Invalid, PayloadLost, SkyError, StorageFull
from skyward_agent.wire import payload
from skyward_agent.wire.messages import Fetch
from skyward_agent.wire.payload import BlobRef, PayloadError
from skyward_agent.wire.transfers import BlobReceiver, TransferError

log = structlog.get_logger()

GRACE_S = 600.0
"""How long a blob is kept that no task names (its client may be about to), and a part that does not grow."""
SWEEP_S = 60.0

Spawn = Callable[[Coroutine[None, None, None]], None]


class Stalled(Exception):
    """The connection that brought a blob was lost before the end; it may go on over another one."""


class Payloads:
    """Without a store for blobs, payloads travel inline or not at all."""

    def __init__(self, blobs: Blobs | None, queue: TaskQueue, clock: Clock, spawn: Spawn) -> None:
        self._blobs = blobs
        self._queue = queue
        self._clock = clock
        self._spawn = spawn
        self._coming: dict[str, _Coming] = {}
        self._beginning: dict[str, asyncio.Lock] = {}
        self._pins: Counter[str] = Counter()
        self._swept_at = clock.monotonic()

    @property
    def shared(self) -> tuple[str, str]:
        """The shared directory, and the proof that a peer sees the same one."""
        return ("", "") if self._blobs is None else self._blobs.shared()

    @contextmanager
    def pinned(self, references: Collection[BlobRef]) -> Iterator[None]:
        """Meanwhile these are not collected, whether or not a task names them."""
        self._pins.update(ref.digest for ref in references)
        try:
            yield
        finally:
            self._unpin(references)

    def pin(self, references: Collection[BlobRef]) -> None:
        """Keep these until `unpin`."""
        self._pins.update(ref.digest for ref in references)

    def unpin(self, references: Collection[BlobRef]) -> None:
        """They were needed for a moment only: gone as soon as no task names them."""
        self._unpin(references)
        if self._blobs is not None:
            for ref in references:
                self._spawn(self._release(self._blobs, ref.digest))

    def _unpin(self, references: Collection[BlobRef]) -> None:
        self._pins.subtract(ref.digest for ref in references)
        self._pins += Counter()

    # --- in ------------------------------------------------------------------------------------------------------------

    async def expect(self, references: Collection[BlobRef], source: BlobReceiver) -> None:
        """Have those that are not here brought by this connection. Raises StorageFull, PayloadTooLarge before the first byte
        came; returns when all are on their way."""
        for ref in references:
            async with self._beginning.setdefault(ref.digest, asyncio.Lock()):
                await self._expect(ref, source)
            self._beginning.pop(ref.digest, None)

    async def _expect(self, ref: BlobRef, source: BlobReceiver) -> None:
        if self._blobs is None:
            raise StorageFull("this operator keeps no large payloads: pass a path or a key to the data instead")
        coming = self._coming.get(ref.digest)
        known = self._blobs.size(ref.digest) if coming is None else coming.arrival.size
        if known is not None and known != ref.size:
            raise PayloadLost(f"blob {ref.digest[:16]} has {known} bytes, not {ref.size}")
        if known is not None and coming is None:
            self._blobs.touch(ref.digest)
            return
        if coming is None:
            coming = self._coming[ref.digest] = _Coming(await self._blobs.begin(ref.digest, ref.size))
        if coming.source is None:
            coming.source = source
            self._spawn(self._bring(coming, source))

    async def arrived(self, references: Collection[BlobRef], source: BlobReceiver) -> None:
        """Wait until all of them are here and are what their digests say. What another connection brought and did not finish
        comes from this one. Raises PayloadLost, StorageFull, Stalled."""
        for ref in references:
            while (coming := self._coming.get(ref.digest)) is not None:
                if coming.source is not None:
                    await coming.changed()
                elif source.is_lost:
                    raise Stalled
                else:
                    await self.expect((ref,), source)
                if coming.error is not None:
                    raise coming.error

    async def _bring(self, coming: _Coming, source: BlobReceiver) -> None:
        arrival = coming.arrival
        try:
            name = await source.fetch(arrival.digest, arrival.size, coming, is_shared=bool(self.shared[0]))
            if name:
                await arrival.take(name)
        except TransferError as error:
            if error.kind:
                await self._fail(coming, PayloadLost(str(error)))
            coming.source = None
        except SkyError as error:
            await self._fail(coming, error)
        except Exception:
            log.exception("payload not taken in", blob=arrival.digest)
            await self._fail(coming, StorageFull("the operator failed to keep a payload; its log says why"))
        else:
            self._coming.pop(arrival.digest, None)
        coming.tell()

    async def _fail(self, coming: _Coming, error: SkyError) -> None:
        coming.error = error
        digest = coming.arrival.digest
        if self._coming.get(digest) is coming:
            del self._coming[digest]
        coming.tell()
        if self._blobs is not None:
            await self._blobs.delete(digest)

    # --- out -----------------------------------------------------------------------------------------------------------

    def find(self, digest: str) -> Readable:
        """A blob that is here or on its way. Raises TransferError."""
        coming = self._coming.get(digest)
        size = None if self._blobs is None else self._blobs.size(digest)
        if coming is not None:
            size = coming.arrival.size
        if self._blobs is None or size is None:
            raise TransferError(f"blob {digest[:16]} is not here any more", PayloadLost.__name__)
        return Readable(self._blobs, digest, size, coming)

    async def link(self, digest: str) -> str:
        """Where a whole blob can be read without us; empty for one that is still on its way, or kept here only."""
        if self._blobs is None or self._blobs.size(digest) is None:
            return ""
        return await self._blobs.link(digest)

    async def find_for(self, asked: Fetch, tasks: Collection[str]) -> Readable:
        """As `find`, for an agent: only what the tasks that it works on name."""
        if not await self._queue.names_blob(tasks, asked.digest):
            raise TransferError(f"blob {asked.digest[:16]} is of no task of this node", PayloadLost.__name__)
        return self.find(asked.digest)

    # --- keeping -------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Remove what nobody names any more. Called often; does something once in a while."""
        now = self._clock.monotonic()
        if self._blobs is None or now - self._swept_at < SWEEP_S:
            return
        self._swept_at = now
        before = self._clock.now() - GRACE_S
        await self._blobs.sweep(before)
        old = [digest for digest in self._blobs.untouched(before) if not self._is_needed(digest)]
        named = await self._queue.named_blobs(old) if old else frozenset()
        for digest in old:
            coming = self._coming.get(digest)
            if self._is_needed(digest) or (coming is None and digest in named and self._blobs.size(digest) is not None):
                continue
            if coming is not None:
                await self._fail(coming, PayloadLost(f"the rest of blob {digest[:16]} never came"))
            else:
                await self._blobs.delete(digest)

    def _is_needed(self, digest: str) -> bool:
        coming = self._coming.get(digest)
        return self._pins[digest] > 0 or (coming is not None and coming.source is not None)

    async def _release(self, blobs: Blobs, digest: str) -> None:
        if self._is_needed(digest) or await self._queue.named_blobs((digest,)):
            return
        if not self._is_needed(digest):
            await blobs.delete(digest)


class _Coming:
    """A blob on its way, the connection that brings it (None: it was lost), and who waits for more of it."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.source: BlobReceiver | None = None
        self.error: SkyError | None = None
        self._news = asyncio.Event()

    @property
    def received(self) -> int:
        return self.arrival.received

    async def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        await self.arrival.append(chunks)
        self.tell()

    def tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def changed(self) -> None:
        await self._news.wait()


class Readable:
    """Implements `wire.transfers.Source`."""

    def __init__(self, blobs: Blobs, digest: str, size: int, coming: _Coming | None) -> None:
        self.size = size
        self._blobs = blobs
        self._digest = digest
        self._coming = coming

    async def read(self, offset: int, count: int) -> bytes:
        try:
            while (coming := self._coming) is not None and self._blobs.size(self._digest) is None:
                if coming.error is not None:
                    raise coming.error
                data = await coming.arrival.read(offset, count)
                if data:
                    return data
                await coming.changed()
            self._coming = None
            return await self._blobs.read(self._digest, offset, count)
        except SkyError as error:
            raise TransferError(str(error), PayloadLost.__name__) from error

    async def place(self) -> str:
        while self._coming is not None and self._blobs.size(self._digest) is None:
            if self._coming.error is not None:
                raise TransferError(str(self._coming.error), PayloadLost.__name__)
            await self._coming.changed()
        return await self._blobs.offer(self._digest)


def references_of(payloads: Sequence[bytes]) -> tuple[BlobRef, ...]:
    """All blobs that these name, each once. Raises Invalid."""
    try:
        return tuple({ref: None for data in payloads for ref in payload.references(data)})
    except PayloadError as error:
        raise Invalid(f"the arguments cannot be read: {error}") from error
