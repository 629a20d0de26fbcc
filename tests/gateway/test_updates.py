"""Agents of another build than the operator's are given its agent file, and no others are."""

from __future__ import annotations

import asyncio

import pytest

from skyward.facts import NodeConfig
from skyward.gateway.agents import AgentFile
from skyward_agent.wire.messages import AgentWelcome, Configure, Ping, Pong, Update
from tests.gateway.world import POOL, RawPeer, agent_hello, running_world, until

OURS = AgentFile("aaaa", b"the agent file")


@pytest.mark.parametrize(
    ("digest", "ours", "sent"),
    [
        ("bbbb", OURS, [Update("aaaa", b"the agent file")]),
        ("aaaa", OURS, []),
        ("", OURS, []),
        ("bbbb", None, []),
    ],
    ids=["another-build", "the-same", "not-from-a-file", "an-operator-without-one"],
)
def test_an_agent_of_another_build_is_given_this_operators(
    digest: str, ours: AgentFile | None, sent: list[Update]
) -> None:
    async def main() -> None:
        async with running_world(agent_file=ours) as world:
            uid = world.add_node("n1")
            peer = await RawPeer().connect(world, agent_hello(uid, digest=digest, limits="cgroup"))
            await peer.hears(AgentWelcome)
            peer.send(Ping(1))
            await peer.hears(Pong)
            session = world.live.session(uid)

            assert peer.all(Update) == sent
            assert session is not None
            assert session.limits == "cgroup"

    asyncio.run(main())


def test_an_agent_is_told_of_a_growing_world_once_and_of_all_else_at_once() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await RawPeer().connect(world, agent_hello(uid))
            welcome = await peer.hears(AgentWelcome)
            peers = tuple((f"n{number}", f"10.0.0.{number}") for number in range(20))
            for count in range(1, 21):
                world.live.configure(uid, NodeConfig(POOL, 1, (("A", "1"),), None, None, True, 0, peers[:count]))
            world.live.configure(uid, NodeConfig(POOL, 2, (("A", "1"),), None, None, True, 0, peers))
            await peer.hears(Configure)
            at_once = peer.all(Configure)
            await until(lambda: len(peer.all(Configure)) == 2)

            assert welcome.configure.world == ()
            assert [(one.lanes, len(one.world)) for one in at_once] == [(2, 20)]
            assert len(peer.all(Configure)[1].world) == 20

    asyncio.run(main())
