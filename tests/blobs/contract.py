"""What every store of blobs promises; run against each of them."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from skyward.contracts import Blobs
from skyward.errors import Invalid, PayloadLost, PayloadTooLarge, StorageFull


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


DATA = bytes(range(256)) * 4096  # 1 MiB
DIGEST = digest_of(DATA)


def with_blobs(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test on an event loop of its own, with an open store."""

    async def play(self: BlobContract, *args: Any, **kwargs: Any) -> None:
        async with self.opened() as blobs:
            await story(self, blobs, *args, **kwargs)

    @functools.wraps(story)
    def run(self: BlobContract, *args: Any, **kwargs: Any) -> None:
        asyncio.run(play(self, *args, **kwargs))

    names = [name for name in inspect.signature(story).parameters.values() if name.name != "blobs"]
    run.__signature__ = inspect.Signature(names)  # type: ignore[attr-defined]  # `blobs` is no fixture
    return run


class BlobContract:
    """A subclass says how the store of one test is opened, with room for 8 MiB: first, and again after a restart."""

    def opened(self) -> AbstractAsyncContextManager[Blobs]:
        raise NotImplementedError

    async def put(self, blobs: Blobs, data: bytes = DATA) -> None:
        arrival = await blobs.begin(digest_of(data), len(data))
        await arrival.append((data,))

    @with_blobs
    async def test_gives_back_what_it_was_given(self, blobs: Blobs) -> None:
        await self.put(blobs)

        assert blobs.size(DIGEST) == len(DATA)
        assert await blobs.read(DIGEST, 1000, 70_000) == DATA[1000:71_000]

    @with_blobs
    async def test_an_empty_blob_is_one(self, blobs: Blobs) -> None:
        await blobs.begin(digest_of(b""), 0)

        assert blobs.size(digest_of(b"")) == 0

    @with_blobs
    async def test_what_came_can_be_read_before_the_rest_is_there(self, blobs: Blobs) -> None:
        arrival = await blobs.begin(DIGEST, len(DATA))

        await arrival.append((DATA[:500_000],))

        assert await arrival.read(100_000, 10_000) == DATA[100_000:110_000]
        assert await arrival.read(500_000, 10) == b""
        assert blobs.size(DIGEST) is None

    @with_blobs
    async def test_bytes_that_are_not_those_of_the_digest_are_an_error_and_never_a_blob(self, blobs: Blobs) -> None:
        arrival = await blobs.begin(DIGEST, len(DATA))

        with pytest.raises(PayloadLost, match="not those of its digest"):
            await arrival.append((b"\1" + DATA[1:],))

        assert blobs.size(DIGEST) is None
        await self.put(blobs)
        assert blobs.size(DIGEST) == len(DATA)

    @with_blobs
    async def test_more_bytes_than_announced_are_an_error(self, blobs: Blobs) -> None:
        arrival = await blobs.begin(DIGEST, len(DATA))

        with pytest.raises(PayloadLost, match="more bytes"):
            await arrival.append((DATA, b"x"))

        assert blobs.size(DIGEST) is None

    @with_blobs
    async def test_goes_on_after_a_restart_from_where_it_was(self, blobs: Blobs) -> None:
        arrival = await blobs.begin(DIGEST, len(DATA))
        await arrival.append((DATA[:300_000],))

        async with self.opened() as again:
            resumed = await again.begin(DIGEST, len(DATA))

            assert resumed.received == 300_000
            await resumed.append((DATA[resumed.received :],))
            assert await again.read(DIGEST, 0, len(DATA)) == DATA

    @with_blobs
    async def test_a_whole_blob_survives_a_restart(self, blobs: Blobs) -> None:
        await self.put(blobs)

        async with self.opened() as again:
            assert again.size(DIGEST) == len(DATA)

    @pytest.mark.parametrize(
        "name", ["../../etc/passwd", "/etc/passwd", "", "a" * 64 + "/x", "A" * 64, "%2e" * 20, "a\0" * 32]
    )
    @with_blobs
    async def test_only_a_digest_names_a_blob(self, blobs: Blobs, name: str) -> None:
        with pytest.raises(Invalid):
            await blobs.begin(name, 1)

    @with_blobs
    async def test_a_deleted_blob_is_lost_and_gives_its_room_back(self, blobs: Blobs) -> None:
        large = bytes(7 * 2**20)
        await self.put(blobs, large)

        await blobs.delete(digest_of(large))

        with pytest.raises(PayloadLost):
            await blobs.read(digest_of(large), 0, 1)
        await self.put(blobs, large[:-1])
        assert blobs.size(digest_of(large[:-1])) == len(large) - 1

    @with_blobs
    async def test_a_blob_that_finds_no_room_is_refused_before_it_comes(self, blobs: Blobs) -> None:
        await self.put(blobs, bytes(5 * 2**20))

        with pytest.raises(StorageFull, match=r"payloads\.disk_bytes"):
            await blobs.begin(DIGEST, 4 * 2**20)

    @with_blobs
    async def test_room_is_taken_when_a_blob_begins(self, blobs: Blobs) -> None:
        await blobs.begin(digest_of(b"1"), 5 * 2**20)

        with pytest.raises(StorageFull):
            await blobs.begin(digest_of(b"2"), 5 * 2**20)

    @with_blobs
    async def test_a_blob_that_can_never_fit_is_told_the_limit(self, blobs: Blobs) -> None:
        with pytest.raises(PayloadTooLarge, match="8 MiB"):
            await blobs.begin(DIGEST, 2 * 2**30)

    @with_blobs
    async def test_a_part_that_is_given_up_gives_its_room_back(self, blobs: Blobs) -> None:
        arrival = await blobs.begin(DIGEST, 7 * 2**20)
        await arrival.append((DATA,))

        await blobs.delete(DIGEST)

        other = bytes(7 * 2**20)
        await self.put(blobs, other)
        assert blobs.size(digest_of(other)) == len(other)
