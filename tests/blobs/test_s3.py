"""Blobs in a bucket, against moto's server: the contract, and what only a bucket can do."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from skyward.blobs.bucket import PART_BYTES, Bucket, opened_bucket
from skyward.blobs.local import LocalBlobs
from skyward.blobs.s3 import S3Blobs
from skyward.contracts import Blobs
from skyward.errors import PayloadLost, StorageFull
from tests.blobs.contract import DATA, DIGEST, BlobContract, digest_of
from tests.blobs.loop import on_loop
from tests.fakes.time import FakeClock

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def place(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    return Place(endpoint, tmp_path / "staging")


class Place:
    """A bucket of this test's own, and a staging directory."""

    def __init__(self, endpoint: str, root: Path) -> None:
        self.endpoint = endpoint
        self.root = root
        self.name = f"bucket-{digest_of(str(root).encode())[:20]}"
        request = urllib.request.Request(f"{endpoint}/{self.name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    @asynccontextmanager
    async def opened(self, limit: int = 8 * 2**20) -> AsyncIterator[S3Blobs]:
        async with self.bucket() as bucket:
            clock = FakeClock()
            staging = LocalBlobs(self.root, clock=clock, proof="proof", limit_bytes=limit, kept_bytes=0)
            blobs = S3Blobs(bucket, staging, clock, limit_bytes=limit)
            await blobs.open()
            yield blobs

    def bucket(self) -> AbstractAsyncContextManager[Bucket]:
        return opened_bucket(self.name, "some/prefix", self.endpoint, "us-east-1")

    def staged(self) -> list[str]:
        return [path.name for room in ("whole", "parts") for path in (self.root / room).iterdir()]


class TestS3(BlobContract):
    @pytest.fixture(autouse=True)
    def a_place(self, place: Place) -> None:
        self.place = place

    def opened(self) -> AbstractAsyncContextManager[Blobs]:
        return self.place.opened()


@on_loop
async def test_what_is_in_the_bucket_is_not_kept_beside_it(place: Place) -> None:
    async with place.opened() as blobs:
        await (await blobs.begin(DIGEST, len(DATA))).append((DATA,))

        assert not place.staged()
        assert await blobs.read(DIGEST, 5, 10) == DATA[5:15]


@on_loop
async def test_a_large_blob_goes_in_parts(place: Place) -> None:
    large = DATA * (2 * PART_BYTES // len(DATA)) + b"rest"
    async with place.opened(limit=2**30) as blobs:
        await (await blobs.begin(digest_of(large), len(large))).append((large,))

        assert await blobs.read(digest_of(large), len(large) - 6, 6) == large[-6:]


@on_loop
async def test_two_operators_may_put_the_same_blob(place: Place) -> None:
    async with place.opened() as blobs, place.bucket() as other:
        arrival = await blobs.begin(DIGEST, len(DATA))
        path = place.root / "theirs"
        path.write_bytes(DATA)
        await other.put(DIGEST, path, len(DATA))

        await arrival.append((DATA,))

        assert blobs.size(DIGEST) == len(DATA)


@on_loop
async def test_anybody_can_read_by_a_link(place: Place) -> None:
    async with place.opened() as blobs:
        await (await blobs.begin(DIGEST, len(DATA))).append((DATA,))
        link = await blobs.link(DIGEST)

        def read() -> bytes:
            with urllib.request.urlopen(link, timeout=10) as answer:
                data: bytes = answer.read()
                return data

        assert await asyncio.to_thread(read) == DATA


@on_loop
async def test_a_blob_that_vanished_from_the_bucket_is_lost_and_can_come_again(place: Place) -> None:
    async with place.opened() as blobs, place.bucket() as other:
        await (await blobs.begin(DIGEST, len(DATA))).append((DATA,))
        await other.delete(DIGEST)

        with pytest.raises(PayloadLost, match="NoSuchKey"):
            await blobs.read(DIGEST, 0, 1)

        assert blobs.size(DIGEST) is None
        await (await blobs.begin(DIGEST, len(DATA))).append((DATA,))
        assert await blobs.read(DIGEST, 0, 1) == DATA[:1]


@on_loop
async def test_a_bucket_that_is_not_there_is_said(place: Place) -> None:
    place.name = "no-such-bucket"

    with pytest.raises(StorageFull, match="NoSuchBucket"):
        async with place.opened():
            pass


@on_loop
async def test_a_file_that_was_handed_over_goes_into_the_bucket(place: Place) -> None:
    async with place.opened() as blobs:
        (place.root / "shared" / "call-1").write_bytes(DATA)

        await (await blobs.begin(DIGEST, len(DATA))).take("call-1")

        assert await blobs.read(DIGEST, 0, len(DATA)) == DATA
        assert not place.staged()
