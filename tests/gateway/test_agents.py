from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from skyward.contracts import Submission
from skyward_agent.wire.messages import (
    REFUSED_DISMISSED,
    REFUSED_SUPERSEDED,
    SUCCEEDED,
    Abandon,
    Acknowledged,
    AgentWelcome,
    AttemptId,
    Configure,
    Dismiss,
    Functions,
    Heartbeat,
    Leases,
    NeedFunctions,
    Output,
    Outputs,
    Ping,
    Pong,
    Recall,
    Refused,
    Report,
    Reports,
    Returned,
    Started,
    Want,
)
from tests.gateway.world import POOL, FakeAgent, RawPeer, World, agent_hello, echo, running_world, until

FUNCTION = b"the function"
DIGEST = hashlib.sha256(FUNCTION).hexdigest()


async def submit(world: World, count: int = 1, key: str = "key", mode: str = "map") -> str:
    await world.queue.put_function(DIGEST, FUNCTION)
    items = tuple(b"%d" % n for n in range(count))
    accepted = await world.queue.submit(Submission(key, "tester", POOL, mode, DIGEST, "fn", items, "3.11"))
    return str(accepted.task)


async def joined(world: World, uid: str, incarnation: str = "i1", **fields: Any) -> RawPeer:
    peer = await RawPeer().connect(world, agent_hello(uid, incarnation, **fields))
    await peer.hears(AgentWelcome)
    return peer


def leases_of(peer: RawPeer) -> list[AttemptId]:
    return [lease.id for message in peer.all(Leases) for lease in message.leases]


# --- who comes in ----------------------------------------------------------------------------------------------------


def test_a_join_token_is_traded_for_the_credential_once_per_incarnation() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")

            first = await joined(world, uid, token=f"join-{uid}")
            again = await joined(world, uid, token=f"join-{uid}")
            other = await RawPeer().connect(world, agent_hello(uid, "i2", token=f"join-{uid}"))

            assert first.all(AgentWelcome)[0].credential == f"node-{uid}"
            assert again.all(AgentWelcome)[0].credential == f"node-{uid}"
            assert (await other.hears(Refused)).error == "Unauthenticated"
            await other.is_cut_off()

    asyncio.run(main())


def test_a_credential_of_another_node_is_refused() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid, other = world.add_node("n1"), world.add_node("n2")

            peer = await RawPeer().connect(world, agent_hello(uid, token=f"node-{other}"))

            assert (await peer.hears(Refused)).error == "Unauthenticated"
            await peer.is_cut_off()
            assert world.live.session(uid) is None

    asyncio.run(main())


def test_a_node_that_was_never_configured_is_told_to_try_again() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await RawPeer().connect(world, agent_hello("uid-unknown"))

            assert (await peer.hears(Refused)).error == "NotFound"
            await peer.is_cut_off()

    asyncio.run(main())


def test_the_newest_incarnation_has_the_place_and_the_older_never_comes_back() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            old = await joined(world, uid, "i1")

            await joined(world, uid, "i2")
            await old.is_cut_off()
            returning = await RawPeer().connect(world, agent_hello(uid, "i1"))

            assert (await returning.hears(Refused)).error == REFUSED_SUPERSEDED
            session = world.live.session(uid)
            assert session is not None
            assert (session.incarnation, session.connected) == ("i2", True)

    asyncio.run(main())


def test_a_dismissed_agent_is_told_and_not_let_in_again() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await joined(world, uid)

            world.live.dismiss(uid, "scaled down")
            world.live.dismiss(uid, "again")

            assert (await peer.hears(Dismiss)).reason == "scaled down"
            peer.live.abort()
            returning = await RawPeer().connect(world, agent_hello(uid))
            assert (await returning.hears(Refused)).error == REFUSED_DISMISSED
            assert len(peer.all(Dismiss)) == 1

    asyncio.run(main())


# --- sessions and configuration --------------------------------------------------------------------------------------


def test_sessions_tell_connected_ready_and_gone_and_wake_subscribers_only_then() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            woken: list[tuple[bool, bool]] = []

            def wake(woken_uid: str) -> None:
                session = world.live.session(woken_uid)
                assert session is not None
                woken.append((session.connected, session.ready))

            world.live.subscribe(wake)

            peer = await joined(world, uid, python="3.11", agent_version="1")
            peer.send(*(Heartbeat(busy=n % 2, lanes=2, ready=True, metrics={"cpu": 1.0}) for n in range(5)))
            peer.send(Ping(1))
            await peer.hears(Pong)
            session = world.live.session(uid)
            assert session is not None
            assert (session.lanes, session.metrics) == (2, {"cpu": 1.0})
            peer.live.abort()
            await until(lambda: not world.live.sessions()[uid].connected)

            assert woken == [(True, False), (True, True), (False, False)]

    asyncio.run(main())


def test_configuration_is_sent_on_joining_and_when_it_changes() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await joined(world, uid)

            world.configure(uid)
            world.configure(uid, rank=3)

            assert (await peer.hears(Configure)).rank == 3
            assert peer.all(AgentWelcome)[0].configure.node == "n1"
            assert len(peer.all(Configure)) == 1

    asyncio.run(main())


def test_a_silent_agent_counts_as_disconnected_and_one_that_speaks_does_not() -> None:
    async def main() -> None:
        async with running_world(heartbeat_s=0.05, lost_after_s=0.4) as world:
            silent, lively = world.add_node("silent"), world.add_node("lively")
            peer = await joined(world, silent)
            talker = await joined(world, lively)

            while not peer.live.closed.is_set():
                talker.send(Ping())
                await asyncio.sleep(0.02)

            assert not world.live.sessions()[silent].connected
            assert world.live.sessions()[lively].connected

    asyncio.run(main())


def test_nodes_that_are_gone_are_forgotten() -> None:
    async def main() -> None:
        async with running_world(heartbeat_s=0.02) as world:
            uid = world.add_node("n1")
            peer = await joined(world, uid)
            peer.live.abort()
            del world.nodes[uid]

            await until(lambda: world.live.session(uid) is None)

    asyncio.run(main())


# --- leases ----------------------------------------------------------------------------------------------------------


def test_an_agent_gets_no_more_than_it_wants_and_nothing_without_asking() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await joined(world, world.add_node("n1"))
            await submit(world, 10)
            peer.send(Ping(1))
            await peer.hears(Pong)
            assert leases_of(peer) == []

            peer.send(Want(3), Want(0))
            peer.send(Want(3))
            await until(lambda: leases_of(peer))
            peer.send(Ping(2))
            await peer.hears(Pong, 2)

            assert len(leases_of(peer)) == 3

    asyncio.run(main())


def test_work_is_shared_among_agents_that_want_it() -> None:
    async def main() -> None:
        async with running_world() as world:
            peers = [await joined(world, world.add_node(f"n{n}")) for n in range(3)]
            for peer in peers:
                peer.send(Want(100))
                peer.send(Ping())
                await peer.hears(Pong)

            await submit(world, 30)
            await until(lambda: sum(len(leases_of(peer)) for peer in peers) == 30)

            assert [len(leases_of(peer)) for peer in peers] == [10, 10, 10]

    asyncio.run(main())


def test_one_connection_carries_a_function_once() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await joined(world, uid)
            peer.send(Want(1))
            await submit(world, 1)
            await until(lambda: len(leases_of(peer)) == 1)
            peer.send(Want(1))
            await submit(world, 1, key="second")
            await until(lambda: len(leases_of(peer)) == 2)
            assert [len(message.functions) for message in peer.all(Leases)] == [1, 0]

            peer.send(NeedFunctions((DIGEST, "unknown")))

            assert [function.data for function in (await peer.hears(Functions)).functions] == [FUNCTION]

    asyncio.run(main())


def test_an_unschedulable_node_gets_nothing_until_it_is_schedulable_again() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            world.configure(uid, schedulable=False)
            peer = await joined(world, uid)
            peer.send(Want(1))
            await submit(world, 1)
            peer.send(Ping())
            await peer.hears(Pong)
            assert leases_of(peer) == []

            world.configure(uid, schedulable=True)

            await until(lambda: leases_of(peer))

    asyncio.run(main())


def test_leases_that_never_reached_the_agent_are_given_again_when_it_comes_back() -> None:
    async def main() -> None:
        async with running_world() as world:
            uid = world.add_node("n1")
            peer = await joined(world, uid)
            peer.send(Want(2))
            await submit(world, 2)
            await until(lambda: len(leases_of(peer)) == 2)
            kept, lost = leases_of(peer)
            peer.live.abort()

            back = await joined(world, uid, running=(kept,))
            back.send(Want(5))
            await until(lambda: leases_of(back))

            (again,) = leases_of(back)
            assert (again.item, again.attempt) == (lost.item, 2)
            assert back.all(AgentWelcome)[0].abandon == ()

    asyncio.run(main())


def test_attempts_that_are_no_longer_the_agents_are_named_in_the_welcome() -> None:
    async def main() -> None:
        async with running_world() as world:
            stranger = AttemptId("task-9", 0, 1, "secret")

            peer = await joined(world, world.add_node("n1"), running=(stranger,))

            assert peer.all(AgentWelcome)[0].abandon == (stranger,)

    asyncio.run(main())


def test_a_cancelled_attempt_is_abandoned_on_its_node() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await joined(world, world.add_node("n1"))
            peer.send(Want(1))
            task = await submit(world, 1)
            await until(lambda: leases_of(peer))

            await world.queue.cancel(task)

            assert (await peer.hears(Abandon)).attempts == tuple(leases_of(peer))

    asyncio.run(main())


# --- evening out -----------------------------------------------------------------------------------------------------


async def loaded_and_idle(world: World, count: int) -> tuple[RawPeer, RawPeer]:
    """Two one-lane agents: the first holds that many attempts and ends none, the second has nothing."""
    loaded = await joined(world, world.add_node("n1"))
    loaded.send(Want(count))
    await submit(world, count)
    await until(lambda: len(leases_of(loaded)) == count)
    idle = await joined(world, world.add_node("n2"))
    idle.send(Want(count))
    return loaded, idle


def test_what_waits_behind_something_slow_goes_to_an_agent_that_idles() -> None:
    async def main() -> None:
        async with running_world() as world:
            slow, idle = await loaded_and_idle(world, 5)

            asked = (await slow.hears(Recall)).attempts
            slow.send(Returned(asked))
            await until(lambda: len(leases_of(idle)) == 2)

            assert asked == tuple(leases_of(slow)[-2:])
            assert [(one.item, one.attempt) for one in leases_of(idle)] == [(3, 2), (4, 2)]

    asyncio.run(main())


def test_all_that_has_not_begun_moves_in_the_end() -> None:
    async def main() -> None:
        async with running_world() as world:
            slow, idle = await loaded_and_idle(world, 20)
            first = leases_of(slow)[0]
            answered = 0
            ended = 0
            while ended < 19:
                recalls, moved = slow.all(Recall), leases_of(idle)
                for recall in recalls[answered:]:
                    slow.send(Returned(tuple(one for one in recall.attempts if one != first)))
                idle.send(Reports(tuple(Report(one, SUCCEEDED) for one in moved[ended:])))
                answered, ended = len(recalls), len(moved)
                await asyncio.sleep(0.002)

            assert set(world.queue.tasks_by_uid["task-0"].results) <= set(range(1, 20))
            assert {one.item for one in leases_of(idle)} == set(range(1, 20))

    asyncio.run(main())


def test_an_agent_that_keeps_what_was_recalled_is_not_asked_for_it_again() -> None:
    async def main() -> None:
        async with running_world() as world:
            slow, idle = await loaded_and_idle(world, 2)

            for count in (1, 2):
                await slow.hears(Recall, count)
                slow.send(Returned(()), Ping())
                await slow.hears(Pong, count)
            idle.send(Want(3), Ping())
            await idle.hears(Pong)
            await asyncio.sleep(0.03)

            assert [recall.attempts for recall in slow.all(Recall)] == [(one,) for one in reversed(leases_of(slow))]

    asyncio.run(main())


def test_nothing_is_recalled_for_an_agent_that_is_busy_or_may_take_nothing() -> None:
    async def main() -> None:
        async with running_world() as world:
            loaded = await joined(world, world.add_node("n1"))
            loaded.send(Want(6))
            await submit(world, 6)
            await until(lambda: len(leases_of(loaded)) == 6)
            cordoned = world.add_node("n2")
            world.configure(cordoned, schedulable=False)
            other = await joined(world, cordoned)

            other.send(Want(6))
            await asyncio.sleep(0.03)  # longer than an agent is taken to be at something quick

            assert loaded.all(Recall) == []

    asyncio.run(main())


def test_a_broadcasts_items_are_not_recalled() -> None:
    async def main() -> None:
        async with running_world() as world:
            first = await joined(world, world.add_node("n1"))
            first.send(Want(4))
            for key in ("a", "b"):
                await submit(world, 1, key=key, mode="broadcast")
            await until(lambda: len(leases_of(first)) == 2)
            idle = await joined(world, world.add_node("n2"))

            idle.send(Want(4))
            await asyncio.sleep(0.03)

            assert first.all(Recall) == []

    asyncio.run(main())


def test_leases_under_way_count_against_what_an_agent_wants() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await joined(world, world.add_node("n1"))
            peer.send(Want(4, received=0))
            await submit(world, 10)
            await until(lambda: len(leases_of(peer)) == 4)

            peer.send(Want(5, received=0))  # said before those four had arrived
            await until(lambda: len(leases_of(peer)) == 5)
            peer.send(Ping())
            await peer.hears(Pong)

            assert len(leases_of(peer)) == 5

    asyncio.run(main())


# --- reports and output ----------------------------------------------------------------------------------------------


def test_reports_that_arrive_together_are_committed_together_and_acknowledged() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await joined(world, world.add_node("n1"))
            peer.send(Want(50))
            await submit(world, 50)
            await until(lambda: len(leases_of(peer)) == 50)
            attempts = leases_of(peer)

            peer.send(*(Started((attempt,)) for attempt in attempts))
            peer.send(*(Reports((Report(attempt, SUCCEEDED),)) for attempt in attempts))
            await until(lambda: sum(len(message.attempts) for message in peer.all(Acknowledged)) == 50)

            assert sum(world.queue.commits) == 50
            assert len(world.queue.commits) < 10

    asyncio.run(main())


def test_a_failed_commit_is_tried_again_and_loses_no_report() -> None:
    async def main() -> None:
        async with running_world() as world:
            report = world.queue.report
            tries = []

            async def fails_once(*args: Any) -> Any:
                tries.append(1)
                if len(tries) == 1:
                    raise OSError("disk full")
                return await report(*args)

            world.queue.report = fails_once
            agent = FakeAgent(world, world.add_node("n1"), echo).start()
            task = await submit(world, 1)

            await until(lambda: world.queue.tasks_by_uid[task].results)

            assert len(tries) == 2
            await agent.stop()

    asyncio.run(main())


def test_output_is_kept_with_its_nodes_name_and_only_for_attempts_the_node_holds() -> None:
    async def main() -> None:
        async with running_world() as world:
            peer = await joined(world, world.add_node("n1"))
            peer.send(Want(1))
            task = await submit(world, 1)
            await until(lambda: leases_of(peer))

            peer.send(
                Outputs((Output(task, 0, 1, 0, "stdout", b"mine"), Output("other", 0, 1, 0, "stdout", b"not mine")))
            )
            peer.send(Ping())
            await peer.hears(Pong)

            kept = [piece.output for piece in world.output.pieces(node="n1")]
            assert [(one.task, one.node, one.data) for one in kept] == [(task, "n1", b"mine")]
            assert world.output.pieces(task="other") == []

    asyncio.run(main())
