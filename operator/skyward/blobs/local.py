"""Blobs in a directory: `whole/` by digest, `parts/` on their way, and `shared/`, through which others hand files over.

A part is a file that grows; whole and right, it moves to its name, so what has a name is complete whatever was killed when.
After a restart parts go on from where they are.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from skyward.blobs.room import Room
from skyward.contracts import Clock
from skyward.errors import Invalid, PayloadLost, StorageFull
from skyward_agent.wire.parts import PartFile, hash_file
from skyward_agent.wire.payload import is_digest

_PROOF = "proof"
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST_NAME = 100
_MODE = 0o700


class LocalBlobs:
    """Implements `contracts.Blobs`. Used on one event loop; the disk is used beside it."""

    def __init__(self, root: Path, *, clock: Clock, proof: str, limit_bytes: int, kept_bytes: int) -> None:
        """Takes stock of what is there. Raises OSError."""
        self._whole_at, self._parts_at, self._shared_at = root / "whole", root / "parts", root / "shared"
        self._clock = clock
        self._proof = proof
        self._sizes: dict[str, int] = {}
        self._touched: dict[str, float] = {}
        self._arrivals: dict[str, LocalArrival] = {}
        self._offers = 0
        for directory in (root, self._whole_at, self._parts_at, self._shared_at):
            directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
        self.room = Room(limit_bytes, free_bytes=lambda: shutil.disk_usage(self._whole_at).free, kept_bytes=kept_bytes)
        self._take_stock()

    def _take_stock(self) -> None:
        now = self._clock.now()
        for path in self._whole_at.iterdir():
            self._sizes[path.name] = size = path.stat().st_size
            self._touched[path.name] = now
            self.room.keep(path.name, size)
        for path in self._parts_at.iterdir():
            self._touched[path.name] = now
        proof = self._shared_at / _PROOF
        proof.unlink(missing_ok=True)
        proof.write_text(self._proof)
        proof.chmod(0o400)

    # --- contracts.Blobs -----------------------------------------------------------------------------------------------

    def shared(self) -> tuple[str, str]:
        return str(self._shared_at), self._proof

    def size(self, digest: str) -> int | None:
        return self._sizes.get(digest)

    async def begin(self, digest: str, size: int) -> LocalArrival:
        if not is_digest(digest):
            raise Invalid("a blob is named by a sha256 in hex")
        self.touch(digest)
        path = self._parts_at / digest
        part = await asyncio.to_thread(_open_part, path)
        if part.received > size:
            await asyncio.to_thread(part.remove)
            part = await asyncio.to_thread(_open_part, path)
        try:
            self.room.reserve(digest, size, part.received)
        except BaseException:
            part.close()
            raise
        arrival = self._arrivals[digest] = LocalArrival(self, digest, size, part)
        if arrival.received < size:
            return arrival
        try:
            await arrival.append(())
        except PayloadLost:  # a crash of the host spoilt what was there: all of it again
            return await self.begin(digest, size)
        return arrival

    async def read(self, digest: str, offset: int, count: int) -> bytes:
        if digest not in self._sizes:
            raise PayloadLost(f"blob {digest[:16]} is not here any more")
        self.touch(digest)
        try:
            return await asyncio.to_thread(_read, self._whole_at / digest, offset, count)
        except OSError as error:
            self._forget(digest)
            raise PayloadLost(f"blob {digest[:16]} cannot be read: {error.strerror or error}") from error

    async def offer(self, digest: str) -> str:
        self._offers += 1
        name = f"{digest}-{self._offers}"
        try:
            await asyncio.to_thread(os.link, self._whole_at / digest, self._shared_at / name)
        except OSError:  # lost, or a filesystem without links: it goes by the connection, or is missed there
            return ""
        return name

    async def link(self, digest: str) -> str:
        return ""

    def path(self, digest: str) -> Path:
        """Where a whole blob is; one that others may read and link, and that never changes."""
        return self._whole_at / digest

    async def delete(self, digest: str) -> None:
        arrival = self._arrivals.pop(digest, None)
        missing = 0
        if arrival is not None:
            missing = arrival.size - arrival.received
            arrival.drop()
        self._forget(digest, missing)
        await asyncio.to_thread(_unlink, self._whole_at / digest, self._parts_at / digest)

    def untouched(self, before: float) -> tuple[str, ...]:
        return tuple(digest for digest, at in self._touched.items() if at < before)

    def touch(self, digest: str) -> None:
        self._touched[digest] = self._clock.now()

    async def sweep(self, before: float) -> int:
        return await asyncio.to_thread(_sweep, self._shared_at, before)

    # --- what arrivals do ------------------------------------------------------------------------------------------------

    def shared_file(self, name: str) -> Path:
        """Raises PayloadLost for a name that is none."""
        if not 0 < len(name) <= _LONGEST_NAME or not _NAME_CHARACTERS.issuperset(name) or name == _PROOF:
            raise PayloadLost("a file was handed over under a name that is none")
        return self._shared_at / name

    def completed(self, arrival: LocalArrival) -> None:
        self._arrivals.pop(arrival.digest, None)
        self._sizes[arrival.digest] = arrival.size
        self.touch(arrival.digest)

    def failed(self, arrival: LocalArrival) -> None:
        """Nothing of it is left."""
        if self._arrivals.get(arrival.digest) is arrival:
            del self._arrivals[arrival.digest]
            self._forget(arrival.digest, arrival.size - arrival.received)

    def _forget(self, digest: str, missing: int = 0) -> None:
        self._sizes.pop(digest, None)
        self._touched.pop(digest, None)
        self.room.give_back(digest, missing)


class LocalArrival:
    """Implements `contracts.Arrival`. Calls of `append` and `take` come one after another."""

    def __init__(self, blobs: LocalBlobs, digest: str, size: int, part: PartFile) -> None:
        self.digest = digest
        self.size = size
        self._blobs = blobs
        self._part = part
        self.is_kept = False

    @property
    def received(self) -> int:
        return self.size if self.is_kept else self._part.received

    async def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        if self._part.received + sum(map(len, chunks)) > self.size:
            raise await self._fail(PayloadLost(f"more bytes came of blob {self.digest[:16]} than it has"))
        before = self._part.received
        try:
            await asyncio.to_thread(self._part.append, chunks)
        except OSError as error:
            raise StorageFull(f"the operator cannot keep a payload: {error.strerror or error}") from error
        finally:
            self._blobs.room.arrived(self._part.received - before)
        if self._part.received == self.size:
            if self._part.digest() != self.digest:
                raise await self._fail(PayloadLost(f"the bytes of blob {self.digest[:16]} are not those of its digest"))
            await asyncio.to_thread(self._part.keep, self._blobs.path(self.digest))
            self._complete()

    async def take(self, name: str) -> None:
        path = self._blobs.shared_file(name)
        try:
            found = await asyncio.to_thread(hash_file, path)
            if found != (self.digest, self.size):
                await asyncio.to_thread(_unlink, path)
                raise await self._fail(PayloadLost(f"the file for blob {self.digest[:16]} is not what its digest says"))
            await asyncio.to_thread(_settle, path, self._blobs.path(self.digest))
            await asyncio.to_thread(self._part.remove)
        except OSError as error:
            raise PayloadLost(
                f"the file for blob {self.digest[:16]} cannot be taken: {error.strerror or error}"
            ) from error
        self._blobs.room.arrived(self.size - self._part.received)
        self._complete()

    async def read(self, offset: int, count: int) -> bytes:
        if self.is_kept:
            return await self._blobs.read(self.digest, offset, count)
        if offset >= self._part.received:
            return b""
        return await asyncio.to_thread(self._part.read, offset, count)

    def drop(self) -> None:
        self._part.close()

    def _complete(self) -> None:
        self.is_kept = True
        self._part.close()
        self._blobs.completed(self)

    async def _fail(self, error: PayloadLost) -> PayloadLost:
        await asyncio.to_thread(self._part.remove)
        self._blobs.failed(self)
        return error


def _open_part(path: Path) -> PartFile:
    try:
        return PartFile(path)
    except OSError as error:
        raise StorageFull(f"the operator cannot keep a payload: {error.strerror or error}") from error


def _read(path: Path, offset: int, count: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return os.pread(descriptor, count, offset)
    finally:
        os.close(descriptor)


def _settle(path: Path, whole: Path) -> None:
    path.chmod(0o400)  # it was opened without following links, and it is ours
    path.replace(whole)


def _unlink(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _sweep(directory: Path, before: float) -> int:
    old = [path for path in directory.iterdir() if path.name != _PROOF and path.lstat().st_mtime < before]
    _unlink(*old)
    return len(old)
