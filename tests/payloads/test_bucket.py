"""Payloads kept in a bucket: nodes read them from there, past the operator."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from skyward.blobs.bucket import opened_bucket
from skyward.blobs.local import LocalBlobs
from skyward.blobs.s3 import S3Blobs
from skyward_agent.link.download import download
from skyward_agent.wire.parts import PartFile
from tests.blobs.contract import DATA, DIGEST
from tests.gateway.world import RealClock
from tests.payloads.stage import LIMIT, Apart, Stage, calling

pytestmark = pytest.mark.slow
MIB = 2**20


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{address}/payloads", method="PUT"), timeout=10).close()
    yield address
    server.stop()


class BucketStage(Stage):
    def __init__(self, directory: Path, endpoint: str) -> None:
        super().__init__(directory, is_shared=False)
        self._endpoint = endpoint
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        bucket = await self._stack.enter_async_context(opened_bucket("payloads", "", self._endpoint, "us-east-1"))
        staging = Apart(self.root, clock=RealClock(), proof="proof", limit_bytes=LIMIT, kept_bytes=0)
        self.stored = S3Blobs(bucket, staging, RealClock(), limit_bytes=LIMIT)
        await self.stored.open()
        self.world.blobs = self.stored

    async def close(self) -> None:
        await self._stack.aclose()


def test_large_payloads_pass_through_a_bucket(tmp_path: Path, endpoint: str) -> None:
    stage = BucketStage(tmp_path, endpoint)
    stage.begin()
    stage.do(stage.open())
    stage.start(1)
    data = os.urandom(3 * MIB)
    try:
        with calling(stage) as pool:
            assert pool.run(bytes.swapcase, data) == data.swapcase()
            stage.await_(lambda: not list((stage.root / "whole").iterdir()))
            for path in (stage.homes["uid-n0"].path / "blobs").iterdir():
                path.unlink()

            assert pool.run(len, data) == len(data)  # the node reads it from the bucket now
    finally:
        stage.stop(stage.close())


@pytest.mark.parametrize("there", [0, 300_000], ids=["all of it", "the rest of it"])
def test_a_download_goes_on_from_where_it_was(tmp_path: Path, endpoint: str, there: int) -> None:
    async def put() -> str:
        async with opened_bucket("payloads", "", endpoint, "us-east-1") as bucket:
            staging = LocalBlobs(tmp_path / "s", clock=RealClock(), proof="", limit_bytes=LIMIT, kept_bytes=0)
            blobs = S3Blobs(bucket, staging, RealClock(), limit_bytes=LIMIT)
            await (await blobs.begin(DIGEST, len(DATA))).append((DATA,))
            return await blobs.link(DIGEST)

    link = asyncio.run(put())
    part = PartFile(tmp_path / "part")
    part.append((DATA[:there],))

    assert download(link, part)

    assert part.digest() == DIGEST
    part.close()


def test_a_store_that_does_not_answer_leaves_what_came(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "part")
    part.append((DATA[:10],))

    assert not download("http://127.0.0.1:9/payloads/x", part)

    assert part.received == 10
    part.close()
