"""Blobs in a local directory: the contract, and what only files can do."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from skyward.blobs.local import LocalBlobs
from skyward.blobs.room import Room
from skyward.contracts import Blobs
from skyward.errors import PayloadLost, StorageFull
from tests.blobs.contract import DATA, DIGEST, BlobContract
from tests.blobs.loop import on_loop
from tests.fakes.time import FakeClock

LIMIT = 8 * 2**20


def opened(root: Path, clock: FakeClock | None = None) -> LocalBlobs:
    return LocalBlobs(root, clock=clock or FakeClock(), proof="proof-of-this-start", limit_bytes=LIMIT, kept_bytes=0)


class TestLocal(BlobContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.root = tmp_path / "payloads"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Blobs]:
        yield opened(self.root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "payloads"


def lay(root: Path, name: str, data: bytes = DATA) -> None:
    (root / "shared" / name).write_bytes(data)


@on_loop
async def test_a_file_that_was_handed_over_is_the_blob(root: Path) -> None:
    blobs = opened(root)
    lay(root, "call-1")

    await (await blobs.begin(DIGEST, len(DATA))).take("call-1")

    assert await blobs.read(DIGEST, 0, len(DATA)) == DATA
    assert [path.name for path in (root / "shared").iterdir()] == ["proof"]
    assert not list((root / "parts").iterdir())


@on_loop
async def test_a_file_of_other_bytes_is_never_a_blob(root: Path) -> None:
    blobs = opened(root)
    lay(root, "call-1", b"x" * len(DATA))

    with pytest.raises(PayloadLost, match="not what its digest says"):
        await (await blobs.begin(DIGEST, len(DATA))).take("call-1")

    assert blobs.size(DIGEST) is None
    assert [path.name for path in (root / "shared").iterdir()] == ["proof"]


@pytest.mark.parametrize("name", ["../whole/x", "/etc/passwd", "", "proof", "a/b", "x" * 101, "a\0b"])
@on_loop
async def test_takes_no_file_from_elsewhere(root: Path, name: str) -> None:
    blobs = opened(root)

    with pytest.raises(PayloadLost):
        await (await blobs.begin(DIGEST, len(DATA))).take(name)


@on_loop
async def test_follows_no_link_that_was_handed_over(root: Path, tmp_path: Path) -> None:
    blobs = opened(root)
    (tmp_path / "secret").write_bytes(DATA)
    (root / "shared" / "call-1").symlink_to(tmp_path / "secret")

    with pytest.raises(PayloadLost):
        await (await blobs.begin(DIGEST, len(DATA))).take("call-1")

    assert (tmp_path / "secret").exists()


@on_loop
async def test_waits_on_no_pipe_that_was_handed_over(root: Path) -> None:
    blobs = opened(root)
    os.mkfifo(root / "shared" / "call-1")

    with pytest.raises(PayloadLost):
        await (await blobs.begin(DIGEST, len(DATA))).take("call-1")


@on_loop
async def test_an_offered_file_is_the_takers_own_name_for_it(root: Path) -> None:
    blobs = opened(root)
    await (await blobs.begin(DIGEST, len(DATA))).append((DATA,))

    name = await blobs.offer(DIGEST)
    (root / "shared" / name).unlink()

    assert await blobs.read(DIGEST, 0, 4) == DATA[:4]


@on_loop
async def test_a_blob_whose_file_vanished_is_lost_and_can_come_again(root: Path) -> None:
    blobs = opened(root)
    await (await blobs.begin(DIGEST, len(DATA))).append((DATA,))
    blobs.path(DIGEST).unlink()

    with pytest.raises(PayloadLost, match="cannot be read"):
        await blobs.read(DIGEST, 0, 1)

    assert blobs.size(DIGEST) is None
    assert blobs.room.used_bytes == 0


@on_loop
async def test_a_spoilt_part_is_begun_anew(root: Path) -> None:
    (root / "parts").mkdir(parents=True)
    (root / "parts" / DIGEST).write_bytes(b"x" * len(DATA))
    blobs = opened(root)

    arrival = await blobs.begin(DIGEST, len(DATA))

    assert arrival.received == 0


@on_loop
async def test_what_nobody_took_is_swept_away(root: Path) -> None:
    clock = FakeClock()
    blobs = opened(root, clock)
    lay(root, "call-dead")
    lay(root, "call-alive")
    os.utime(root / "shared" / "call-dead", (clock.now() - 1000, clock.now() - 1000))
    os.utime(root / "shared" / "call-alive", (clock.now(), clock.now()))

    assert await blobs.sweep(clock.now() - 600) == 1

    assert {path.name for path in (root / "shared").iterdir()} == {"proof", "call-alive"}


@on_loop
async def test_a_full_disk_is_said_and_spoils_nothing(root: Path) -> None:
    blobs = opened(root)
    arrival = await blobs.begin(DIGEST, len(DATA))
    await arrival.append((DATA[:1000],))

    with files_end_at(500_000), pytest.raises(StorageFull, match="cannot keep a payload"):
        await arrival.append((DATA[1000:],))

    await arrival.append((DATA[arrival.received :],))
    assert blobs.size(DIGEST) == len(DATA)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process grows beyond that, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_leaves_of_the_disk_what_others_need() -> None:
    room = Room(2**40, free_bytes=lambda: 100 * 2**20, kept_bytes=60 * 2**20)

    room.reserve("a", 30 * 2**20)

    with pytest.raises(StorageFull, match="10 MiB to spare"):
        room.reserve("b", 20 * 2**20)
