"""Large payloads through the gateway: asked for, passed on while they come, resumed, refused, and given up."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skyward.blobs.local import LocalBlobs
from skyward.gateway import payloads
from skyward_agent.wire.messages import (
    FAILED,
    SUCCEEDED,
    Acknowledged,
    AgentWelcome,
    Chunk,
    ClientWelcome,
    Fetch,
    Heartbeat,
    Leases,
    More,
    PutFunction,
    Refused,
    Report,
    Reports,
    Results,
    Submit,
    Submitted,
    Unavailable,
    Want,
)
from skyward_agent.wire.payload import BlobRef, Envelope, Span
from skyward_agent.wire.transfers import WINDOW_BYTES
from tests.gateway.world import RawPeer, RealClock, World, agent_hello, client_hello, running_world, until

FUNCTION = b"the function"
FUNCTION_DIGEST = hashlib.sha256(FUNCTION).hexdigest()
HALF = 2**20
DATA = bytes(range(256)) * (2 * HALF // 256)
REF = BlobRef(hashlib.sha256(DATA).hexdigest(), len(DATA))
OTHER = b"other" * 100_000
OTHER_REF = BlobRef(hashlib.sha256(OTHER).hexdigest(), len(OTHER))
MIB = 2**20


def envelope(ref: BlobRef = REF) -> bytes:
    return Envelope(ref, (Span(0, ref.size),)).encode()


def submit(request: int = 1, ref: BlobRef = REF, key: str = "") -> Submit:
    return Submit(request, key or f"key-{request}", "default", "hello", "run", FUNCTION_DIGEST, "fn", (envelope(ref),))


class Clock(RealClock):
    """Real, and can be put forward."""

    ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


Story = Callable[[World], Awaitable[None]]


def play(root: Path, story: Story, limit: int = 16 * MIB, **options: Any) -> None:
    async def main() -> None:
        blobs = LocalBlobs(root, clock=Clock(), proof="proof", limit_bytes=limit, kept_bytes=0)
        async with running_world(blobs=blobs, clock=Clock(), **options) as world:
            world.add_node("n1")
            await story(world)

    asyncio.run(main())


async def client(world: World, *messages: Any) -> RawPeer:
    peer = await RawPeer().connect(world, client_hello())
    await peer.hears(ClientWelcome)
    peer.send(PutFunction(FUNCTION_DIGEST, FUNCTION), *messages)
    return peer


async def agent(world: World, uid: str = "uid-n1", **fields: Any) -> RawPeer:
    peer = await RawPeer().connect(world, agent_hello(uid, **fields))
    await peer.hears(AgentWelcome)
    peer.send(Heartbeat(0, 1, True), Want(1))
    return peer


def chunk(data: bytes, offset: int, digest: str = REF.digest) -> Chunk:
    return Chunk(digest, offset, memoryview(data))


async def upload(peer: RawPeer, data: bytes = DATA, digest: str = REF.digest) -> None:
    asked = await peer.hears(Fetch)
    peer.send(*[chunk(data[at : at + HALF], at, digest) for at in range(asked.offset, len(data), HALF)])


def test_an_agent_reads_arguments_while_they_still_come(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller, worker = await client(world, submit()), await agent(world)
        await caller.hears(Fetch)
        lease = (await worker.hears(Leases)).leases[0]

        worker.send(Fetch(REF.digest, 0, REF.size))
        caller.send(chunk(DATA[:HALF], 0))

        first = await worker.hears(Chunk)
        assert bytes(first.data) == DATA[: len(first.data)]
        assert not caller.all(Submitted)
        caller.send(chunk(DATA[HALF:], HALF))
        await until(lambda: sum(len(one.data) for one in worker.all(Chunk)) == len(DATA))
        assert lease.arguments == envelope()
        await caller.hears(Submitted)

    play(tmp_path, story)


def test_an_upload_goes_on_where_the_last_connection_left_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller = await client(world, submit())
        await caller.hears(Fetch)
        caller.send(chunk(DATA[:HALF], 0))
        await until(lambda: (tmp_path / "parts" / REF.digest).stat().st_size == HALF)
        caller.live.abort()

        again = await client(world, submit())

        assert (await again.hears(Fetch)).offset == HALF
        await upload(again)
        await again.hears(Submitted)

    play(tmp_path, story)


def test_an_upload_goes_on_after_a_restart_of_the_operator(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller = await client(world, submit())
        await caller.hears(Fetch)
        caller.send(chunk(DATA[:HALF], 0))
        await until(lambda: (tmp_path / "parts" / REF.digest).stat().st_size == HALF)
        await world.stop()
        world.blobs = LocalBlobs(tmp_path, clock=Clock(), proof="other", limit_bytes=16 * MIB, kept_bytes=0)
        await world.start()

        again = await client(world, submit())

        assert (await again.hears(Fetch)).offset == HALF

    play(tmp_path, story)


def test_another_caller_of_the_same_blob_brings_what_the_first_did_not(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        first, second = await client(world, submit(key="a")), await client(world)
        await first.hears(Fetch)
        second.send(submit(key="b"))
        first.send(chunk(DATA[:HALF], 0))
        await until(lambda: (tmp_path / "parts" / REF.digest).stat().st_size == HALF)
        assert not second.all(Fetch)

        first.live.abort()

        assert (await second.hears(Fetch)).offset == HALF
        await upload(second)
        await second.hears(Submitted)

    play(tmp_path, story)


def test_what_the_operator_has_is_not_sent_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller = await client(world, submit(1))
        await upload(caller)
        await caller.hears(Submitted)

        caller.send(submit(2))

        await caller.hears(Submitted, 2)
        assert len(caller.all(Fetch)) == 1

    play(tmp_path, story)


def test_no_more_is_under_way_than_the_window(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        ref = BlobRef("0" * 64, 12 * MIB)
        caller = await client(world, submit(ref=ref))

        asked = await caller.hears(Fetch)

        assert asked.until == WINDOW_BYTES
        caller.send(*[chunk(bytes(MIB), at * MIB, ref.digest) for at in range(6)])
        assert (await caller.hears(More)).until <= 6 * MIB + WINDOW_BYTES

    play(tmp_path, story)


def test_bytes_that_are_not_what_they_should_be_end_the_task_and_are_not_kept(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller = await client(world, submit())
        await upload(caller, b"x" * len(DATA))

        refused = await caller.hears(Refused)

        assert refused.error == "PayloadLost"
        assert "digest" in refused.message
        assert not list((tmp_path / "parts").iterdir())
        assert not list((tmp_path / "whole").iterdir())
        assert world.queue.counts("default/hello")[0] == 0

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("size", "error", "limit"), [(2**31, "PayloadTooLarge", "16 MiB"), (12 * MIB, "StorageFull", "no room")]
)
def test_what_has_no_room_is_refused_before_its_first_byte(tmp_path: Path, size: int, error: str, limit: str) -> None:
    async def story(world: World) -> None:
        caller = await client(world, submit(1, BlobRef("1" * 64, 8 * MIB)))
        await caller.hears(Fetch)

        caller.send(submit(2, BlobRef("0" * 64, size)))

        refused = await caller.hears(Refused)
        assert (refused.error, limit in refused.message) == (error, True)
        assert len(caller.all(Fetch)) == 1
        assert world.queue.counts("default/hello")[0] == 1

    play(tmp_path, story)


def test_a_client_that_dies_in_the_middle_gives_its_room_back(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        assert isinstance(world.blobs, LocalBlobs)
        caller, worker = await client(world, submit()), await agent(world)
        await caller.hears(Fetch)
        caller.send(chunk(DATA[:HALF], 0))
        await worker.hears(Leases)
        worker.send(Fetch(REF.digest, 0, REF.size))
        await worker.hears(Chunk)
        caller.live.abort()
        await until(lambda: (tmp_path / "parts" / REF.digest).stat().st_size == HALF)
        assert world.blobs.room.used_bytes == REF.size

        put_forward(world)

        assert "never came" in (await worker.hears(Unavailable)).message
        await until(lambda: not list((tmp_path / "parts").iterdir()))
        assert world.blobs.room.used_bytes == 0

    play(tmp_path, story, heartbeat_s=0.02)


def test_a_blob_is_kept_as_long_as_a_task_names_it(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller = await client(world, submit())
        await upload(caller)
        await caller.hears(Submitted)
        caller.send(submit(2, OTHER_REF))
        await caller.hears(Fetch, 2)
        caller.send(chunk(OTHER, 0, OTHER_REF.digest))
        del world.queue.tasks_by_uid[(await caller.hears(Submitted, 2)).task]

        put_forward(world)

        await until(lambda: not (tmp_path / "whole" / OTHER_REF.digest).exists())
        assert (tmp_path / "whole" / REF.digest).exists()

    play(tmp_path, story, heartbeat_s=0.02)


def test_a_blob_that_is_about_to_be_named_is_kept(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        clock = Clock()
        hub = payloads.Payloads(world.blobs, world.queue, clock, lambda work: work.close())
        assert world.blobs is not None
        await (await world.blobs.begin(REF.digest, REF.size)).append((DATA,))
        await (await world.blobs.begin(OTHER_REF.digest, OTHER_REF.size)).append((OTHER,))
        clock.ahead_s = payloads.GRACE_S + payloads.SWEEP_S + 1

        with hub.pinned((REF,)):
            await hub.sweep()

        assert world.blobs.size(REF.digest) == REF.size
        assert world.blobs.size(OTHER_REF.digest) is None

    play(tmp_path, story)


def put_forward(world: World) -> None:
    """So far that what nobody names may go."""
    assert isinstance(world.clock, Clock)
    world.clock.ahead_s += payloads.GRACE_S + payloads.SWEEP_S + 1


def test_an_agent_gets_only_blobs_of_the_tasks_that_it_holds(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller = await client(world, submit())
        await upload(caller)
        await caller.hears(Submitted)
        world.add_node("n2")
        stranger = await RawPeer().connect(world, agent_hello("uid-n2"))
        await stranger.hears(AgentWelcome)

        stranger.send(Fetch(REF.digest, 0, REF.size))

        assert (await stranger.hears(Unavailable)).error == "PayloadLost"
        assert not stranger.all(Chunk)

    play(tmp_path, story)


def test_a_result_is_committed_when_all_of_it_is_here(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller, worker = await client(world), await agent(world)
        caller.send(Submit(1, "k", "default", "hello", "run", FUNCTION_DIGEST, "fn", (b"x",)))
        lease = (await worker.hears(Leases)).leases[0]

        worker.send(Reports((Report(lease.id, SUCCEEDED, envelope()),)))
        await worker.hears(Fetch)
        worker.send(chunk(DATA[:HALF], 0))
        await until(lambda: (tmp_path / "parts" / REF.digest).stat().st_size == HALF)
        early = [*caller.all(Results), *worker.all(Acknowledged)]
        worker.send(chunk(DATA[HALF:], HALF))

        assert (await caller.hears(Results)).results[0].value == envelope()
        await worker.hears(Acknowledged)
        assert not early

    play(tmp_path, story)


@pytest.mark.parametrize("size", [REF.size, 2**31], ids=["the node lost it", "there is no room for it"])
def test_a_result_that_cannot_be_had_is_a_failure_that_says_so(tmp_path: Path, size: int) -> None:
    async def story(world: World) -> None:
        caller, worker = await client(world), await agent(world)
        caller.send(Submit(1, "k", "default", "hello", "run", FUNCTION_DIGEST, "fn", (b"x",)))
        lease = (await worker.hears(Leases)).leases[0]

        worker.send(Reports((Report(lease.id, SUCCEEDED, envelope(BlobRef(REF.digest, size))),)))
        if size == REF.size:
            await worker.hears(Fetch)
            worker.send(Unavailable(REF.digest, "PayloadLost", "the disk broke"))

        (result,) = (await caller.hears(Results)).results
        assert result.outcome == FAILED
        assert result.failure is not None
        assert result.failure.type in ("skyward.errors.PayloadLost", "skyward.errors.PayloadTooLarge")
        await worker.hears(Acknowledged)

    play(tmp_path, story)


def test_an_agent_that_comes_back_goes_on_with_its_result(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller, worker = await client(world), await agent(world)
        caller.send(Submit(1, "k", "default", "hello", "run", FUNCTION_DIGEST, "fn", (b"x",)))
        lease = (await worker.hears(Leases)).leases[0]
        report = Reports((Report(lease.id, SUCCEEDED, envelope()),))
        worker.send(report)
        await worker.hears(Fetch)
        worker.send(chunk(DATA[:HALF], 0))
        await until(lambda: (tmp_path / "parts" / REF.digest).stat().st_size == HALF)
        worker.live.abort()

        again = await agent(world, running=(lease.id,))
        again.send(report)

        assert (await again.hears(Fetch)).offset == HALF
        again.send(chunk(DATA[HALF:], HALF))
        assert (await caller.hears(Results)).results[0].outcome == SUCCEEDED

    play(tmp_path, story)


def test_an_envelope_that_is_none_is_refused(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        caller = await client(world)
        for number, bad in enumerate(
            (b"\0sky1", b"\0sky1\xff\xff\xff\xff", b"\0sky1\0\0\0\2[]", b'\0sky1\0\0\0\x1a[["../etc",1],[],[],false]')
        ):
            caller.send(Submit(number, f"k{number}", "default", "hello", "run", FUNCTION_DIGEST, "fn", (bad,)))

        await caller.hears(Refused, 4)

        assert {refused.error for refused in caller.all(Refused)} == {"Invalid"}

    play(tmp_path, story)


def test_without_a_store_large_payloads_are_refused_and_small_ones_pass() -> None:
    async def main() -> None:
        async with running_world() as world:
            caller = await client(world, submit())

            assert (await caller.hears(Refused)).error == "StorageFull"

    asyncio.run(main())
