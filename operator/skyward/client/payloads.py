"""Large payloads at the client: sealed for sending, served while the operator takes them in, fetched when a result names one.

A payload's bytes are copied once, when the call is made: into a file that the operator then takes over, where both see one
directory, else into memory. So what the caller changes afterwards changes no call.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import pickle
import uuid
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from skyward.errors import PayloadLost
from skyward_agent.wire import payload
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import (
    FAILED,
    Chunk,
    ClientWelcome,
    Failure,
    Fetch,
    More,
    Placed,
    Result,
    Unavailable,
    Yield,
)
from skyward_agent.wire.parts import sees, write_blob
from skyward_agent.wire.payload import INLINE_BYTES, BlobRef, Envelope, PayloadError
from skyward_agent.wire.transfers import BlobReceiver, BlobSender, Spawn, TransferError


class Sealed(bytes):
    """An envelope with what it names, as long as somebody holds it: a request that is not answered."""

    sources: tuple[LocalBlob, ...]


class Fetched(bytes):
    """An envelope whose blob is here."""

    blob: memoryview


class LocalBlob(Protocol):
    """Bytes at this client that the operator may ask for. Implements `wire.transfers.Source`."""

    ref: BlobRef

    @property
    def size(self) -> int: ...

    async def read(self, offset: int, count: int) -> bytes | memoryview: ...

    async def place(self) -> str: ...


class MemoryBlob:
    def __init__(self, pieces: Sequence[memoryview], spans: Sequence[payload.Span], size: int) -> None:
        self._data = bytearray(size)
        digest = hashlib.sha256()
        offset = 0
        for piece in payload.laid_out(pieces, spans):
            for start in range(0, len(piece), _STEP_BYTES):
                part = piece[start : start + _STEP_BYTES]
                self._data[offset : offset + len(part)] = part
                digest.update(part)
                offset += len(part)
        self.ref = BlobRef(digest.hexdigest(), size)

    @property
    def size(self) -> int:
        return self.ref.size

    async def read(self, offset: int, count: int) -> memoryview:
        return memoryview(self._data)[offset : offset + count]

    async def place(self) -> str:
        return ""


class PlacedBlob:
    """A file in the shared directory. Gone with this object, unless the operator took it."""

    def __init__(self, shared: Path, pieces: Sequence[memoryview], spans: Sequence[payload.Span], size: int) -> None:
        """Raises OSError."""
        self._name = f"call-{uuid.uuid4().hex}"
        self._path = shared / self._name
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        weakref.finalize(self, _unlink, self._path)
        try:
            self.ref = BlobRef(write_blob(descriptor, payload.laid_out(pieces, spans)), size)
        finally:
            os.close(descriptor)

    @property
    def size(self) -> int:
        return self.ref.size

    async def read(self, offset: int, count: int) -> bytes:
        return await asyncio.to_thread(_read, self._path, offset, count)

    async def place(self) -> str:
        return self._name


class FileBlob:
    """A file of the caller's: what is in it when the operator asks."""

    def __init__(self, path: Path, ref: BlobRef) -> None:
        self.ref = ref
        self._path = path

    @property
    def size(self) -> int:
        return self.ref.size

    async def read(self, offset: int, count: int) -> bytes:
        return await asyncio.to_thread(_read, self._path, offset, count)

    async def place(self) -> str:
        return ""


Seal = Callable[[bytes, Sequence[memoryview]], bytes]
"""From a pickle and its out-of-band buffers to a payload."""


def seal(
    pickled: bytes,
    buffers: Sequence[memoryview],
    shared: Path | None,
    files: Sequence[tuple[str, BlobRef]] = (),
    file_sources: Sequence[LocalBlob] = (),
    *,
    yields: bool = False,
) -> bytes:
    """The payload of a call: the pickle itself while that is small and comes alone."""
    if not buffers and len(pickled) <= INLINE_BYTES:
        if not files and not yields:
            return pickled
        return _sealed(Envelope(files=tuple(files), inline=pickled, yields=yields), tuple(file_sources))
    pieces = [memoryview(pickled), *buffers]
    spans, size = payload.lay_out(pieces)
    blob = _placed(shared, pieces, spans, size) or MemoryBlob(pieces, spans, size)
    return _sealed(Envelope(blob.ref, spans, tuple(files), yields=yields), (blob, *file_sources))


def keep_apart(apart: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    """A pickler's `buffer_callback`: large contiguous buffers are not copied into the pickle."""

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < INLINE_BYTES:
            return True
        apart.append(raw)
        return False

    return keep_in_band


def load(data: bytes) -> Any:
    """What a result's payload holds. Unpickles: never call it in the operator."""
    if not isinstance(data, Fetched):
        envelope = payload.open_envelope(data)
        return pickle.loads(data if envelope is None else envelope.inline)  # noqa: S301
    envelope = payload.open_envelope(data)
    assert envelope is not None, "only an envelope names a blob"
    pickled, *buffers = payload.cut(data.blob, envelope.spans)
    return pickle.loads(pickled, buffers=buffers)  # noqa: S301


class ClientPayloads:
    """The blobs of one task connection, over all its lines. Lives on the event loop."""

    def __init__(self, spawn: Spawn) -> None:
        self.shared: Path | None = None
        self._spawn = spawn
        self._sources: weakref.WeakValueDictionary[str, LocalBlob] = weakref.WeakValueDictionary()
        """What the operator may ask for: as long as a call that names it is not answered."""
        self._receiver: BlobReceiver | None = None
        self._sender: BlobSender | None = None
        self._coming: set[tuple[str, int]] = set()

    def connected(self, connection: FrameConnection, welcome: ClientWelcome) -> None:
        self.shared = Path(welcome.shared) if sees(welcome.shared, welcome.proof) else None
        self._receiver = BlobReceiver(connection.send, is_shared=self.shared is not None)
        self._sender = BlobSender(connection, self._find, self._spawn)

    def disconnected(self) -> None:
        if self._receiver is not None:
            self._receiver.lost()
        self._receiver = self._sender = None

    def handle(self, message: Chunk | Placed | Unavailable | Fetch | More) -> None:
        if isinstance(message, Fetch | More):
            if self._sender is not None:
                self._sender.handle(message)
        elif self._receiver is not None:
            self._receiver.handle(message)

    def offer(self, items: Sequence[bytes]) -> None:
        for item in items:
            if isinstance(item, Sealed):
                for source in item.sources:
                    self._sources[source.ref.digest] = source

    async def _find(self, asked: Fetch) -> LocalBlob:
        source = self._sources.get(asked.digest)
        if source is None:
            raise TransferError(f"the caller has blob {asked.digest[:16]} no more", PayloadLost.__name__)
        return source

    def fetched(self, results: Sequence[Result], then: Callable[[Sequence[Result]], None]) -> list[Result]:
        """Those that are whole; the others follow by `then`, each as soon as its blob is here. What a broken connection keeps
        from coming is sent again over the next one."""
        whole = []
        for result in results:
            if isinstance(result.value, Fetched) or not payload.names_blobs(result.value):
                whole.append(result)
            else:
                self._begin((result.task, result.item), self._fetch_result(result, then))
        return whole

    def fetched_yield(self, made: Yield, then: Callable[[Yield], None]) -> Yield | None:
        """The same of a value that was yielded."""
        if not payload.names_blobs(made.value):
            return made
        self._begin((made.task, made.number), self._fetch_yield(made, then))
        return None

    def _begin(self, key: tuple[str, int], work: Coroutine[Any, Any, None]) -> None:
        if key in self._coming:
            work.close()
            return
        self._coming.add(key)
        self._spawn(self._end(key, work))

    async def _end(self, key: tuple[str, int], work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TransferError:
            pass  # the connection was lost, or the operator: it is sent again, or its task says what became of it
        finally:
            self._coming.discard(key)

    async def _fetch_result(self, result: Result, then: Callable[[Sequence[Result]], None]) -> None:
        try:
            value = await fetch(result.value, self._receiver, self.shared)
        except (TransferError, PayloadError) as error:
            if isinstance(error, TransferError) and not error.kind:
                raise
            failure = Failure(PayloadLost.__name__, str(error))
            then([replace(result, outcome=FAILED, value=b"", failure=failure)])
        else:
            then([replace(result, value=value)])

    async def _fetch_yield(self, made: Yield, then: Callable[[Yield], None]) -> None:
        then(replace(made, value=await fetch(made.value, self._receiver, self.shared)))


async def fetch(data: bytes, receiver: BlobReceiver | None, shared: Path | None) -> bytes:
    """A result's payload with its blob: mapped from the operator's own file where that can be seen, else received into
    memory. Raises TransferError."""
    envelope = payload.open_envelope(data)
    if envelope is None or envelope.blob is None:
        return data
    if receiver is None:
        raise TransferError("there is no connection")
    ref = envelope.blob
    part = _Memory(ref.size)
    name = await receiver.fetch(ref.digest, ref.size, part, is_shared=shared is not None)
    found = Fetched(data)
    if name and shared is not None:
        try:
            found.blob = await asyncio.to_thread(_take_file, shared / Path(name).name, ref.size)
            return found
        except OSError:
            await receiver.fetch(ref.digest, ref.size, part, is_shared=False)
    if part.digest() != ref.digest:
        raise TransferError("the result's bytes are not those of its digest", "PayloadLost")
    found.blob = part.view
    return found


class _Memory:
    """Implements `wire.transfers.Part`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._map: mmap.mmap | None = None
        self._hash = hashlib.sha256()
        self.received = 0

    @property
    def view(self) -> memoryview:
        if self._map is None:
            self._map = mmap.mmap(-1, max(1, self._size))
        return memoryview(self._map)[: self._size]

    async def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        if self.received + sum(map(len, chunks)) > self._size:
            raise TransferError("more bytes came than the result has", "PayloadLost")
        await asyncio.to_thread(self._append, chunks)

    def _append(self, chunks: Sequence[bytes | memoryview]) -> None:
        view = self.view
        for chunk in chunks:
            view[self.received : self.received + len(chunk)] = chunk
            self._hash.update(chunk)
            self.received += len(chunk)

    def digest(self) -> str:
        return self._hash.hexdigest()


_STEP_BYTES = 1024 * 1024


def _sealed(envelope: Envelope, sources: tuple[LocalBlob, ...]) -> Sealed:
    sealed = Sealed(envelope.encode())
    sealed.sources = sources
    return sealed


def _placed(
    shared: Path | None, pieces: Sequence[memoryview], spans: Sequence[payload.Span], size: int
) -> LocalBlob | None:
    if shared is None:
        return None
    try:
        return PlacedBlob(shared, pieces, spans, size)
    except OSError:  # the operator's disk is full, or it has moved: it says what is wrong when it is asked
        return None


def _read(path: Path, offset: int, count: int) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), count, offset)
    except OSError as error:
        raise TransferError(f"{path.name} cannot be read: {error.strerror or error}", "PayloadLost") from error
    if not data:
        raise TransferError(f"{path.name} is shorter than it was", "PayloadLost")
    return data


def _take_file(path: Path, size: int) -> memoryview:
    """A private mapping: it lives on without the name, and what is written to it stays here."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        path.unlink()
        if os.fstat(descriptor).st_size != size:
            raise OSError("the file is not whole")
        return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY))
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
