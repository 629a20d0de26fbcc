"""The blobs on this node, and the leases that wait for theirs: whoever runs attempts gets only those whose payloads are here.

A blob is a file named by its digest. What comes is checked on the way; what the operator hands over as a file it has checked.
Results stay until they are acknowledged, other blobs until the room is needed for newer ones.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from skyward_agent.link.download import download
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import AttemptId, Chunk, Fetch, Lease, More, Placed, Returned, Unavailable
from skyward_agent.wire.parts import PACKING, PartFile, hand_over, sees
from skyward_agent.wire.payload import BlobRef, PayloadError, references
from skyward_agent.wire.transfers import BlobReceiver, BlobSender, TransferError

_log = logging.getLogger("skyward_agent")
_PART = ".part"
_SHARE_OF_DISK = 0.25
"""Of what is free when the agent starts, for blobs that nobody needs any more."""


class Payloads:
    """Lives on the event loop; the disk is used beside it. `arrived` gets leases whose payloads are here, or will never be:
    those fail when they are run."""

    def __init__(
        self, home: Path, arrived: Callable[[tuple[Lease, ...]], None], say: Callable[[Returned], None]
    ) -> None:
        self._directory = home / "blobs"
        self._say = say
        self._arrived = arrived
        self._waiting: dict[AttemptId, Lease] = {}
        self._needed: dict[AttemptId, tuple[BlobRef, ...]] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._receiver: BlobReceiver | None = None
        self._sender: BlobSender | None = None
        self._shared = ""
        self._offers = 0
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for path in self._directory.glob(f"{PACKING}*"):
            path.unlink(missing_ok=True)
        self._limit_bytes = int(shutil.disk_usage(self._directory).free * _SHARE_OF_DISK)

    # --- leases ----------------------------------------------------------------------------------------------------

    def take(self, leases: Sequence[Lease]) -> tuple[Lease, ...]:
        """Those that can be run now; the others follow."""
        ready = []
        for lease in leases:
            named = _references(lease.arguments)
            if not named:
                ready.append(lease)
                continue
            self._needed[lease.id] = named
            missing = [ref for ref in named if not self._path(ref.digest).exists()]
            if not missing:
                self._touch(named)
                ready.append(lease)
                continue
            self._waiting[lease.id] = lease
            for ref in missing:
                self._begin(ref)
        return tuple(ready)

    def held(self) -> tuple[AttemptId, ...]:
        """Attempts whose payloads are on the way."""
        return tuple(self._waiting)

    def let_go(self, attempts: Iterable[AttemptId]) -> None:
        """Those of these attempts that wait here never begin, and are given back."""
        waited = tuple(attempt for attempt in attempts if self._waiting.pop(attempt, None) is not None)
        if waited:
            self._say(Returned(waited))

    def keep(self, attempt: AttemptId, result: bytes) -> None:
        """The blobs of a result stay until `release`."""
        named = _references(result)
        if named:
            self._needed[attempt] = (*self._needed.get(attempt, ()), *named)

    def release(self, attempts: Iterable[AttemptId]) -> None:
        """Nobody needs the payloads of these attempts any more."""
        for attempt in attempts:
            if self._needed.pop(attempt, None) is not None:
                self._spawn(self._make_room())

    # --- the connection ----------------------------------------------------------------------------------------------

    def connected(self, connection: FrameConnection, shared: str, proof: str) -> None:
        self._shared = shared if sees(shared, proof) else ""
        self._receiver = BlobReceiver(connection.send, is_shared=bool(self._shared), is_direct=True)
        self._sender = BlobSender(connection, self._find, self._spawn)
        for lease in self._waiting.values():
            for ref in self._needed.get(lease.id, ()):
                if not self._path(ref.digest).exists():
                    self._begin(ref)

    def disconnected(self) -> None:
        if self._receiver is not None:
            self._receiver.lost()
        self._receiver = self._sender = None

    def heard(self, message: Chunk | Placed | Unavailable | Fetch | More) -> None:
        if isinstance(message, Fetch | More):
            if self._sender is not None:
                self._sender.handle(message)
        elif self._receiver is not None:
            self._receiver.handle(message)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    # --- in ----------------------------------------------------------------------------------------------------------

    def _begin(self, ref: BlobRef) -> None:
        if ref.digest not in self._fetching and self._receiver is not None:
            self._fetching[ref.digest] = self._spawn(self._fetch(ref, self._receiver))

    async def _fetch(self, ref: BlobRef, receiver: BlobReceiver) -> None:
        try:
            await self._bring(ref, receiver)
        except TransferError as error:
            if not error.kind:
                return  # it goes on over the next connection
            _log.warning("payload not to be had digest=%s error=%s", ref.digest[:16], error)
        except OSError as error:
            _log.warning("payload not kept digest=%s error=%s", ref.digest[:16], error)
        finally:
            self._fetching.pop(ref.digest, None)
        self._settle(ref.digest)

    async def _bring(self, ref: BlobRef, receiver: BlobReceiver) -> None:
        """Raises OSError, TransferError."""
        part = await asyncio.to_thread(PartFile, self._path(ref.digest + _PART))
        try:
            name = await receiver.fetch(ref.digest, ref.size, _Arriving(part))
            if name and not await asyncio.to_thread(self._fetch_elsewhere, name, ref, part):
                await receiver.fetch(ref.digest, ref.size, _Arriving(part), is_shared=False)
            if self._path(ref.digest).exists():
                await asyncio.to_thread(part.remove)
            elif part.digest() == ref.digest:
                part.keep(self._path(ref.digest))
            else:
                await asyncio.to_thread(part.remove)
                raise TransferError("its bytes are not those of its digest", "PayloadLost")
        finally:
            part.close()

    def _fetch_elsewhere(self, name: str, ref: BlobRef, part: PartFile) -> bool:
        return download(name, part) and part.received == ref.size if "://" in name else self._fetch_file(name, ref)

    def _fetch_file(self, name: str, ref: BlobRef) -> bool:
        """Take over a file that the operator laid down for us, and has checked."""
        source, target = Path(self._shared) / Path(name).name, self._path(ref.digest)
        try:
            source.rename(target)
        except OSError:
            try:
                shutil.copyfile(source, self._path(name))
                self._path(name).rename(target)
                source.unlink()
            except OSError:
                return False
        return target.stat().st_size == ref.size

    def _settle(self, digest: str) -> None:
        """It is here, or will not come: whoever waited for nothing else goes on."""
        ready = [
            lease
            for lease in self._waiting.values()
            if any(ref.digest == digest for ref in self._needed.get(lease.id, ()))
            and not any(ref.digest in self._fetching for ref in self._needed.get(lease.id, ()))
        ]
        for lease in ready:
            del self._waiting[lease.id]
        if ready:
            self._arrived(tuple(ready))

    # --- out -----------------------------------------------------------------------------------------------------------

    async def _find(self, asked: Fetch) -> _Whole:
        path = self._path(asked.digest)
        try:
            return _Whole(path, path.stat().st_size, self._offer)
        except OSError as error:
            raise TransferError(f"the node lost blob {asked.digest[:16]}: {error.strerror}", "PayloadLost") from error

    async def _offer(self, path: Path) -> str:
        if not self._shared:
            return ""
        self._offers += 1
        name = f"{path.name}-{os.getpid()}-{self._offers}"
        is_there = await asyncio.to_thread(hand_over, path, Path(self._shared), name)
        return name if is_there else ""

    # --- room ----------------------------------------------------------------------------------------------------------

    async def _make_room(self) -> None:
        needed = {ref.digest for named in tuple(self._needed.values()) for ref in named} | self._fetching.keys()
        await asyncio.to_thread(self._evict, frozenset(needed))

    def _evict(self, needed: frozenset[str]) -> None:
        """The longest unused go first."""
        found = []
        for path in self._directory.iterdir():
            if path.name.removesuffix(_PART) in needed or path.name.startswith(PACKING):
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime, status.st_size, path))
        used = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if used <= self._limit_bytes:
                return
            path.unlink(missing_ok=True)
            used -= size

    def _touch(self, named: Iterable[BlobRef]) -> None:
        for ref in named:
            try:
                os.utime(self._path(ref.digest))
            except OSError:
                pass  # gone this moment: the attempt says so

    def _path(self, name: str) -> Path:
        return self._directory / name

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Arriving:
    """Implements `wire.transfers.Part` over a file."""

    def __init__(self, part: PartFile) -> None:
        self._part = part

    @property
    def received(self) -> int:
        return self._part.received

    async def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        try:
            await asyncio.to_thread(self._part.append, chunks)
        except OSError as error:
            raise TransferError(f"the node cannot keep it: {error.strerror or error}", "StorageFull") from error


class _Whole:
    """Implements `wire.transfers.Source` over a file that is whole."""

    def __init__(self, path: Path, size: int, offer: Callable[[Path], Any]) -> None:
        self.size = size
        self._path = path
        self._offer = offer

    async def read(self, offset: int, count: int) -> bytes:
        try:
            return await asyncio.to_thread(_read, self._path, offset, count)
        except OSError as error:
            raise TransferError(f"the node cannot read it: {error.strerror or error}", "PayloadLost") from error

    async def place(self) -> str:
        return str(await self._offer(self._path))


def _read(path: Path, offset: int, count: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), count, offset)
    if not data:
        raise OSError("it is shorter than it was")
    return data


def _references(data: bytes) -> tuple[BlobRef, ...]:
    try:
        return references(data)
    except PayloadError:
        return ()  # whoever opens it tells
