"""Blobs in a bucket. What comes is staged in a local directory, checked there, and put into the bucket whole.

So an arrival can be read while it comes and goes on after a restart, as with local blobs; nothing unchecked is ever in the
bucket; and several operators may use one prefix, since what one puts the other finds equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from skyward.blobs.bucket import Bucket, is_gone
from skyward.blobs.local import LocalArrival, LocalBlobs
from skyward.blobs.room import Room
from skyward.contracts import Clock
from skyward.errors import PayloadLost

_EVER = 2**62


class S3Blobs:
    """Implements `contracts.Blobs`. Used on one event loop."""

    def __init__(self, bucket: Bucket, staging: LocalBlobs, clock: Clock, *, limit_bytes: int) -> None:
        self._bucket = bucket
        self._staging = staging
        self._clock = clock
        self._sizes: dict[str, int] = {}
        self._touched: dict[str, float] = {}
        self.room = Room(limit_bytes, free_bytes=lambda: _EVER, kept_bytes=0)

    async def open(self) -> None:
        """Take stock. Raises StorageFull when the bucket does not answer."""
        now = self._clock.now()
        for digest, size in (await self._bucket.sizes()).items():
            self._know(digest, size, now)

    # --- contracts.Blobs -----------------------------------------------------------------------------------------------

    def shared(self) -> tuple[str, str]:
        return self._staging.shared()

    def size(self, digest: str) -> int | None:
        return self._sizes.get(digest)

    async def begin(self, digest: str, size: int) -> StagedArrival:
        self.room.reserve(digest, size)
        try:
            staged = await self._staging.begin(digest, size)
            arrival = StagedArrival(self, staged)
            await arrival.settle()
        except BaseException:
            self.room.give_back(digest)
            raise
        self.touch(digest)
        return arrival

    async def read(self, digest: str, offset: int, count: int) -> bytes:
        if digest not in self._sizes:
            raise PayloadLost(f"blob {digest[:16]} is not here any more")
        self.touch(digest)
        try:
            return await self._bucket.read(digest, offset, count)
        except PayloadLost as error:
            if is_gone(error.__cause__):
                self._forget(digest)
            raise

    async def offer(self, digest: str) -> str:
        return ""

    async def link(self, digest: str) -> str:
        return await self._bucket.link(digest)

    async def delete(self, digest: str) -> None:
        await self._staging.delete(digest)
        if digest in self._sizes:
            await self._bucket.delete(digest)
        self._forget(digest)

    def untouched(self, before: float) -> tuple[str, ...]:
        old = (digest for digest, at in self._touched.items() if at < before)
        return tuple(dict.fromkeys((*old, *self._staging.untouched(before))))

    def touch(self, digest: str) -> None:
        self._touched[digest] = self._clock.now()

    async def sweep(self, before: float) -> int:
        return await self._staging.sweep(before)

    # --- what arrivals do ------------------------------------------------------------------------------------------------

    async def store(self, digest: str, size: int) -> None:
        """A staged blob that is whole and right."""
        await self._bucket.put(digest, self._staging.path(digest), size)
        self._know(digest, size, self._clock.now())
        await self._staging.delete(digest)

    def failed(self, digest: str) -> None:
        self._touched.pop(digest, None)
        self.room.give_back(digest)

    def _know(self, digest: str, size: int, now: float) -> None:
        if digest not in self._sizes:
            self._sizes[digest] = size
            self.room.give_back(digest)
            self.room.keep(digest, size)
        self._touched[digest] = now

    def _forget(self, digest: str) -> None:
        self._sizes.pop(digest, None)
        self._touched.pop(digest, None)
        self.room.give_back(digest)


class StagedArrival:
    """Implements `contracts.Arrival`."""

    def __init__(self, blobs: S3Blobs, staged: LocalArrival) -> None:
        self._blobs = blobs
        self._staged = staged
        self._is_stored = False

    @property
    def digest(self) -> str:
        return self._staged.digest

    @property
    def size(self) -> int:
        return self._staged.size

    @property
    def received(self) -> int:
        return self._staged.received

    async def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        try:
            await self._staged.append(chunks)
        except PayloadLost:
            self._blobs.failed(self.digest)
            raise
        await self.settle()

    async def take(self, name: str) -> None:
        try:
            await self._staged.take(name)
        except PayloadLost:
            self._blobs.failed(self.digest)
            raise
        await self.settle()

    async def settle(self) -> None:
        """Into the bucket with it, once it is whole."""
        if self._staged.is_kept and not self._is_stored:
            await self._blobs.store(self.digest, self.size)
            self._is_stored = True

    async def read(self, offset: int, count: int) -> bytes:
        if not self._is_stored:
            with suppress(PayloadLost):  # it is in the bucket since
                return await self._staged.read(offset, count)
        return await self._blobs.read(self.digest, offset, count)
