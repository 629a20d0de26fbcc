"""What agents say of their nodes' health, and what they are told to check; older agents and operators included."""

from __future__ import annotations

import asyncio
import json

from skyward.facts import CheckState
from skyward.facts import HealthCheck as Wanted
from skyward_agent.wire.frames import decode, encode
from skyward_agent.wire.messages import (
    CHECK_FAILING,
    CHECK_PASSING,
    AgentWelcome,
    Configure,
    HealthCheck,
    Heartbeat,
    Ping,
    Pong,
)
from tests.gateway.world import RawPeer, agent_hello, running_world


def test_a_verdict_and_a_notice_reach_the_session_and_wake_its_subscribers_once() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await RawPeer().connect(world, agent_hello(uid, "i1"))
            await peer.hears(AgentWelcome)
            woken: list[str] = []
            world.live.subscribe(woken.append)

            passing = Heartbeat(busy=0, lanes=1, ready=True, check=CHECK_PASSING)
            failing = Heartbeat(busy=0, lanes=1, ready=True, check=CHECK_FAILING, check_message="exit status 3")
            noticed = Heartbeat(
                0, 1, True, check=CHECK_FAILING, check_message="exit status 3", notice_at=99.0, notice="spot"
            )
            peer.send(*(beat for beat in (passing, failing, noticed) for _ in range(3)), Ping(1))
            await peer.hears(Pong)

            session = world.live.session(uid)
            assert session is not None
            assert (session.check, session.check_message) == (CheckState.FAILING, "exit status 3")
            assert session.notice is not None
            assert (session.notice.at, session.notice.message) == (99.0, "spot")
            assert len(woken) == 3

    asyncio.run(main())


def test_a_verdict_that_this_operator_does_not_know_is_none() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await RawPeer().connect(world, agent_hello(uid, "i1"))
            await peer.hears(AgentWelcome)
            peer.send(Heartbeat(busy=0, lanes=1, ready=True, check="splendid"), Ping(1))
            await peer.hears(Pong)

            session = world.live.session(uid)
            assert session is not None
            assert session.check is CheckState.UNKNOWN

    asyncio.run(main())


def test_the_check_travels_with_the_configuration() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await RawPeer().connect(world, agent_hello(uid, "i1"))
            await peer.hears(AgentWelcome)

            world.configure(uid, health_check=Wanted("true", 30.0, 10.0, 3))

            assert (await peer.hears(Configure)).health_check == HealthCheck("true", 30.0, 10.0, 3)

    asyncio.run(main())


def test_what_older_peers_say_still_decodes() -> None:
    beat = _cut(Heartbeat(1, 2, True, {"cpu": 1.0}, "a problem"), fields=5)
    told = _cut(Configure("n", "p", 1, {}, True, 0, (), None, None, HealthCheck("true", 1.0, 1.0, 1)), fields=9)

    assert decode(beat) == Heartbeat(1, 2, True, {"cpu": 1.0}, "a problem")
    assert decode(told) == Configure("n", "p", 1, {}, True, 0, ())


def _cut(message: object, *, fields: int) -> bytes:
    """The frame's body as a peer writes it that knows only so many fields."""
    frame = b"".join(encode(message))[4:]
    length = int.from_bytes(frame[:4])
    name, values, blobs = json.loads(frame[4 : 4 + length])
    header = json.dumps([name, values[:fields], blobs]).encode()
    return len(header).to_bytes(4) + header
