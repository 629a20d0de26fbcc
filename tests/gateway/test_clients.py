from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from skyward_agent.wire.messages import (
    SUCCEEDED,
    Attach,
    Attached,
    Cancel,
    Cancelled,
    ClientWelcome,
    Extend,
    Extended,
    Outputs,
    Ping,
    Pong,
    PutFunction,
    Refused,
    Report,
    Result,
    Results,
    Submit,
    Submitted,
)
from tests.gateway.world import FakeAgent, RawPeer, World, client_hello, echo, running_world, until

FUNCTION = b"the function"
DIGEST = hashlib.sha256(FUNCTION).hexdigest()


def submit(request: int = 1, items: tuple[bytes, ...] = (b"x",), **fields: Any) -> Submit:
    values = {"namespace": "default", "pool": "hello", "mode": "run", "function": DIGEST, "name": "fn"} | fields
    return Submit(request=request, key=f"key-{request}", items=items, **values)


async def connect(world: World, *messages: Any) -> RawPeer:
    peer = await RawPeer().connect(world, client_hello())
    await peer.hears(ClientWelcome)
    peer.send(PutFunction(DIGEST, FUNCTION), *messages)
    return peer


def results_of(peer: RawPeer) -> list[Result]:
    return [result for message in peer.all(Results) for result in message.results]


def test_a_submitted_call_comes_back_with_its_result() -> None:
    async def main() -> None:
        async with running_world() as world:
            agent = FakeAgent(world, world.add_node("n1"), echo).start()
            peer = await connect(world, submit(items=(b"payload",)))

            await peer.hears(Results)

            (result,) = results_of(peer)
            assert (result.value, result.outcome, result.node) == (b"payload", SUCCEEDED, "n1")
            assert peer.heard.index(peer.all(Submitted)[0]) < peer.heard.index(peer.all(Results)[0])
            await agent.stop()

    asyncio.run(main())


def test_many_submits_in_flight_are_each_answered_once() -> None:
    async def main() -> None:
        async with running_world() as world:
            agent = FakeAgent(world, world.add_node("n1"), echo, lanes=8).start()
            peer = await connect(world, *(submit(n, (str(n).encode(),)) for n in range(1, 301)))

            await until(lambda: len(results_of(peer)) == 300)

            assert sorted(int(result.value) for result in results_of(peer)) == list(range(1, 301))
            assert sorted(answer.request for answer in peer.all(Submitted)) == list(range(1, 301))
            await agent.stop()

    asyncio.run(main())


def test_the_same_key_again_is_the_same_task_and_brings_its_result_again() -> None:
    async def main() -> None:
        async with running_world() as world:
            agent = FakeAgent(world, world.add_node("n1"), echo).start()
            first = await connect(world, submit())
            await first.hears(Results)
            first.live.abort()
            await first.is_cut_off()

            second = await connect(world, submit())
            answer = await second.hears(Submitted)
            second.send(Attach(2, answer.task))
            await second.hears(Results)

            assert answer.task == first.all(Submitted)[0].task
            assert len(world.queue.tasks_by_uid) == 1
            assert len(agent.executed) == 1
            await agent.stop()

    asyncio.run(main())


def test_attach_brings_only_what_the_client_does_not_have_then_the_rest_live() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await connect(world, submit(items=tuple(b"%d" % n for n in range(6)), mode="map"))
            task = (await peer.hears(Submitted)).task
            peer.live.abort()
            agent = FakeAgent(world, world.add_node("n1"), echo, lanes=1).start()
            await until(lambda: len(world.queue.tasks_by_uid[task].results) >= 3)

            other = await connect(world, Attach(1, task, have=(0, 1)))
            await until(lambda: len(results_of(other)) == 4)

            assert other.all(Attached)[0].items == 6
            assert sorted(result.item for result in results_of(other)) == [2, 3, 4, 5]
            await agent.stop()

    asyncio.run(main())


def test_an_open_map_grows_and_a_repeated_extend_adds_nothing() -> None:
    async def main() -> None:
        async with running_world() as world:
            agent = FakeAgent(world, world.add_node("n1"), echo).start()
            peer = await connect(world, submit(mode="map", open=True))
            task = (await peer.hears(Submitted)).task

            peer.send(Extend(2, task, 1, (b"y", b"z"), last=False), Extend(3, task, 1, (b"y", b"z"), last=False))
            peer.send(Extend(4, task, 3, (), last=True))
            await peer.hears(Extended, 3)
            await until(lambda: len(results_of(peer)) == 3)

            assert [answer.items for answer in peer.all(Extended)] == [3, 3, 3]
            assert sorted(result.value for result in results_of(peer)) == [b"x", b"y", b"z"]
            await agent.stop()

    asyncio.run(main())


def test_who_follows_an_open_map_hears_that_it_was_closed_by_somebody_else() -> None:
    """Through the HTTP API, by its deadline, or with its pool: the queue alone knows."""

    async def main() -> None:
        async with running_world() as world:
            agent = FakeAgent(world, world.add_node("n1"), echo).start()
            owner = await connect(world, submit(mode="map", open=True))
            task = (await owner.hears(Submitted)).task
            follower = await connect(world, Attach(2, task))
            await until(lambda: len(results_of(owner)) == len(results_of(follower)) == 1)

            await world.queue.cancel(task)

            for peer, count in ((owner, 1), (follower, 2)):
                said = await peer.hears(Attached, count)
                assert (said.request, said.task, said.items, said.open) == (0, task, 1, False)
            await agent.stop()

    asyncio.run(main())


def test_cancel_ends_what_waits_and_says_so() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await connect(world, submit())
            task = (await peer.hears(Submitted)).task

            peer.send(Cancel(2, task))

            assert (await peer.hears(Cancelled)).task == task
            await until(lambda: [result.outcome for result in results_of(peer)] == ["Cancelled"])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (submit(pool="nowhere"), "PoolNotFound"),
        (submit(function="0" * 64), "Invalid"),
        (submit(mode="broadcast"), "PoolNotReady"),
        (Cancel(1, "no such task"), "NotFound"),
        (Attach(1, "no such task"), "NotFound"),
        (Extend(1, "no such task", 0, (b"x",), last=True), "NotFound"),
    ],
    ids=["unknown pool", "unknown function", "no ready node", "cancel", "attach", "extend"],
)
def test_a_refusal_names_the_error_and_the_connection_goes_on(message: Any, error: str) -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await connect(world, message)

            refused = await peer.hears(Refused)
            peer.send(Ping(7))

            assert (refused.request, refused.error) == (1, error)
            assert (await peer.hears(Pong)).request == 7

    asyncio.run(main())


def test_a_function_whose_digest_is_wrong_is_not_known_afterwards() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await RawPeer().connect(world, client_hello())
            await peer.hears(ClientWelcome)

            peer.send(PutFunction(DIGEST, b"another function"), submit())

            assert (await peer.hears(Refused)).error == "Invalid"

    asyncio.run(main())


def test_a_client_that_leaves_cancels_nothing() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await connect(world, submit())
            task = (await peer.hears(Submitted)).task
            peer.live.abort()
            await peer.is_cut_off()

            agent = FakeAgent(world, world.add_node("n1"), echo).start()

            await until(lambda: world.queue.tasks_by_uid[task].results)
            await agent.stop()

    asyncio.run(main())


@pytest.mark.slow
def test_a_client_that_does_not_read_gets_every_result_when_it_reads_again() -> None:
    big = b"x" * 100_000

    async def main() -> None:
        async with running_world() as world:
            peer = await connect(world, submit(items=(big,) * 200, mode="map"))
            await peer.hears(Submitted)
            peer.live.pause_reading()
            agent = FakeAgent(world, world.add_node("n1"), echo, lanes=8).start()
            await until(lambda: len(world.queue.tasks_by_uid["task-0"].results) == 200)
            assert len(results_of(peer)) < 200

            peer.live.resume_reading()

            await until(lambda: len(results_of(peer)) >= 200)
            assert sorted(result.item for result in results_of(peer)) == list(range(200))
            await agent.stop()

    asyncio.run(main())


def test_output_for_a_client_that_does_not_read_is_bounded_and_the_gap_is_said() -> None:
    release = asyncio.Event()

    async def flood(lease: Any, function: bytes, write: Any) -> Report:
        for _ in range(300):
            write("stdout", b"y" * 65_536)
            await asyncio.sleep(0)
        write("stdout", b"last\n")
        await release.wait()
        return Report(lease.id, SUCCEEDED)

    async def main() -> None:
        async with running_world() as world:
            agent = FakeAgent(world, world.add_node("n1"), flood).start()
            peer = await connect(world)
            peer.live.pause_reading()
            peer.send(submit())
            await until(lambda: any(one.output.data == b"last\n" for one in world.output.pieces(task="task-0")))

            peer.live.resume_reading()
            release.set()
            await until(lambda: results_of(peer))

            data = b"".join(piece.data for message in peer.all(Outputs) for piece in message.outputs)
            assert len(data) < 300 * 65_536
            assert b"bytes of output dropped" in data
            await agent.stop()

    asyncio.run(main())
