"""Guards on reality: what providers and agents do not say, say wrongly, or say all at once, destroys nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skyward.api import Node, NodeCondition, PoolCondition, Reason, Status, find
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.errors import InsufficientCapacity, ProviderUnavailable
from skyward.facts import Ceilings, InstanceState
from skyward.planner import is_gone
from tests.whole.world import World, condition, run_world

LISTED: dict[str, Any] = {"driver": {"has_token": False, "visibility_s": 30.0}, "cloud": {"visibility_s": 20.0}}
BLOCKED = "True/RemediationBlocked"


async def settled(world: World, nodes: int, name: str = "hello") -> list[Node]:
    await world.start()
    await world.apply(name, nodes=nodes)
    await world.settled(name)
    await asyncio.sleep(120)  # old enough for every listing to show it
    return [node for node in await world.nodes() if node.spec.pool == name]


async def uids(world: World) -> set[str]:
    """Of the nodes that nobody gave up."""
    return {
        n.metadata.uid for n in await world.nodes() if n.metadata.deletion_timestamp is None and not n.status.failure
    }


def silence(world: World, *nodes: Node) -> None:
    """Their agents go, and no start of another works."""
    world.machines.always_fails = lambda request: True
    for node in nodes:
        world.machines.kill_agent(node.metadata.uid)


def come_back(world: World, *nodes: Node) -> None:
    world.machines.always_fails = lambda request: False
    for node in nodes:
        world.machines.start_agent(node.metadata.uid, node.status.provider_id)


# --- proved gone -------------------------------------------------------------------------------------------------


def test_a_machine_that_listings_hide_is_not_lost_while_its_provider_still_knows_it() -> None:
    async def story(world: World) -> None:
        victim, _ = await settled(world, 2)
        before = await uids(world)
        world.machines.kill_agent(victim.metadata.uid)
        world.cloud.faults.hides = lambda instance_id: instance_id == victim.status.provider_id
        await asyncio.sleep(600)
        assert world.cloud.calls["get"] >= 1
        assert world.cloud.calls["create"] == 1
        assert await uids(world) == before

        world.cloud.faults.hides = lambda instance_id: False
        await world.settled()
        assert await uids(world) == before

    run_world(story, **LISTED)


def test_one_listing_without_it_is_no_proof() -> None:
    async def story(world: World) -> None:
        victim, _ = await settled(world, 2)
        before = await uids(world)
        world.machines.kill_agent(victim.metadata.uid)
        lists = world.cloud.calls["list"]
        world.cloud.faults.hides = lambda instance_id: world.cloud.calls["list"] <= lists + 2
        await world.settled()

        assert await uids(world) == before
        assert world.cloud.calls["get"] == 0

    run_world(story, **LISTED)


def test_nothing_is_given_up_while_the_direct_question_has_no_answer() -> None:
    async def story(world: World) -> None:
        victim, _ = await settled(world, 2)
        world.cloud.faults.get_errors = [ProviderUnavailable("503")] * 1000
        world.cloud.vanish(victim.status.provider_id)
        await asyncio.sleep(600)
        assert world.cloud.calls["get"] >= 5
        assert victim.metadata.uid in await uids(world)
        world.cloud.faults.get_errors.clear()
        await world.until(lambda: world.lacks(victim.metadata.uid))
        await world.settled()

    run_world(story, **LISTED)


def test_a_deleted_node_stays_until_its_instance_is_proved_gone() -> None:
    async def story(world: World) -> None:
        victim, _ = await settled(world, 2)
        world.cloud.faults.hides = lambda instance_id: instance_id == victim.status.provider_id
        world.cloud.faults.delete_errors = [ProviderUnavailable("503")] * 3
        await world.delete(Node, victim.key)
        await asyncio.sleep(25)
        assert any(node.metadata.uid == victim.metadata.uid for node in await world.nodes())
        assert victim.status.provider_id in world.cloud.alive
        await world.until(lambda: world.lacks(victim.metadata.uid))
        assert victim.status.provider_id not in world.cloud.alive

    run_world(story, **LISTED)


# --- an outage ---------------------------------------------------------------------------------------------------


def test_an_outage_of_the_listing_creates_deletes_and_replaces_nothing() -> None:
    async def story(world: World) -> None:
        lost, silent, deleted, *_ = await settled(world, 5)
        world.cloud.faults.listing_is_down = True
        await asyncio.sleep(60)
        world.cloud.lose(lost.status.provider_id)
        silence(world, silent)
        await world.delete(Node, deleted.key)
        await world.apply(nodes=8, image={"env": {"A": "1"}})
        before = world.cloud.calls.copy()
        await asyncio.sleep(3600)
        assert world.cloud.calls["create"] == before["create"]
        assert world.cloud.calls["delete"] == 0
        found = next(node for node in await world.nodes() if node.metadata.uid == silent.metadata.uid)
        assert condition(found, NodeCondition.READY) == "Unknown/NotSynced"

        world.cloud.faults.listing_is_down = False
        come_back(world)
        await world.settled(within_s=2400)

    run_world(story)


def test_a_node_that_waits_for_its_launch_gets_none_during_an_outage() -> None:
    async def story(world: World) -> None:
        refusals = [InsufficientCapacity("sold out", f"local/{name}/on-demand") for name in ("small", "large")]
        world.cloud.faults.before_create = list(refusals)
        await world.start()
        await world.apply(nodes=1)
        await asyncio.sleep(20)
        calls = world.cloud.calls["create"]
        world.cloud.faults.listing_is_down = True
        await asyncio.sleep(3600)
        assert world.cloud.calls["create"] == calls
        assert condition((await world.nodes())[0], NodeCondition.LAUNCHED) == "False/NotSynced"

        world.cloud.faults.listing_is_down = False
        await world.settled()

    run_world(story)


# --- many fall silent together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["vanished", "silent"])
def test_too_many_silent_losses_at_once_stop_remediation_until_they_are_back(how: str) -> None:
    async def story(world: World) -> None:
        nodes = await settled(world, 5)
        before, victims = await uids(world), nodes[:3]
        hidden = {node.status.provider_id for node in victims}
        silence(world, *victims)
        if how == "vanished":
            known = {key: world.cloud._machines[key] for key in hidden}
            for key in hidden:
                del world.cloud._machines[key]
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, BLOCKED))
        stalled = find((await world.pool()).status.conditions, PoolCondition.STALLED)
        assert stalled is not None
        assert "3 of 5 nodes" in stalled.message
        assert RECONCILE_REQUESTED in stalled.message
        await asyncio.sleep(1200)
        version = await world.version()
        await asyncio.sleep(3600)
        assert await world.version() == version, "a world that stands still is not written about"
        assert await uids(world) == before
        assert world.cloud.calls["create"] == 1
        assert world.cloud.calls["delete"] == 0

        if how == "vanished":
            world.cloud._machines.update(known)
        come_back(world, *victims)
        await world.settled(within_s=90)
        assert await uids(world) == before
        assert condition(await world.pool(), PoolCondition.STALLED) == "absent"

    run_world(story, driver={"visibility_s": 5.0})


def test_a_user_who_knows_that_they_are_lost_lets_them_be_replaced_once() -> None:
    async def story(world: World) -> None:
        nodes = await settled(world, 5)
        for node in nodes[:3]:
            world.cloud.vanish(node.status.provider_id)
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, BLOCKED))
        await world.restart()
        await asyncio.sleep(300)
        assert await world.pool_is("hello", PoolCondition.STALLED, BLOCKED), "it outlives a restart"
        await world.annotate("hello", RECONCILE_REQUESTED, world.time())
        await world.settled()
        later = [node for node in await world.nodes() if not is_gone(node)]

        for node in later[:3]:
            world.cloud.vanish(node.status.provider_id)
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, BLOCKED))

    run_world(story)


def test_one_silent_node_is_replaced_and_a_spreading_silence_is_seen_as_one() -> None:
    async def story(world: World) -> None:
        first, second, *_ = await settled(world, 5)
        world.cloud.vanish(first.status.provider_id)
        await world.until(lambda: world.lacks(first.metadata.uid), within_s=60)
        world.cloud.vanish(second.status.provider_id)
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, BLOCKED), within_s=60)
        assert second.metadata.uid in await uids(world)

        await world.until(lambda: world.lacks(second.metadata.uid))
        await world.settled()

    run_world(story)


def test_proved_losses_are_replaced_at_once_however_many() -> None:
    async def story(world: World) -> None:
        nodes = await settled(world, 5)
        for node, state in zip(nodes, [InstanceState.PREEMPTED, InstanceState.FAILED] * 2, strict=False):
            world.cloud.lose(node.status.provider_id, state)
        await world.until(lambda: world.lacks(nodes[3].metadata.uid))
        await world.settled(within_s=120)

    run_world(story)


def test_when_most_of_all_nodes_are_silent_even_small_pools_are_left_alone() -> None:
    async def story(world: World) -> None:
        await world.start()
        for number in range(4):
            await world.apply(f"pool-{number}", nodes=1)
        for number in range(4):
            await world.settled(f"pool-{number}")
        await asyncio.sleep(60)
        before = await uids(world)
        for node in (await world.nodes())[:3]:
            world.cloud.vanish(node.status.provider_id)
        await asyncio.sleep(600)

        assert await uids(world) == before
        assert await world.pool_is("pool-0", PoolCondition.STALLED, BLOCKED)
        assert await world.pool_is("pool-3", PoolCondition.STALLED, "absent")

    run_world(story)


def test_a_restart_of_the_operator_is_no_silence() -> None:
    async def story(world: World) -> None:
        await settled(world, 5)
        for _ in range(4):
            await world.restart()
            await asyncio.sleep(1)
            assert await world.pool_is("hello", PoolCondition.STALLED, "absent")
            await asyncio.sleep(11)
            assert await world.pool_is("hello", PoolCondition.STALLED, "absent")

    run_world(story)


# --- ceilings and slow start -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ceilings", "made", "setting"),
    [
        pytest.param(Ceilings(pool_instances=3), 3, "POOL_INSTANCES", id="instances of a pool"),
        pytest.param(Ceilings(instances=4), 4, "INSTANCES", id="instances of all"),
        pytest.param(Ceilings(pool_creates=2), 2, "POOL_CREATES", id="creates of a pool"),
        pytest.param(Ceilings(creates=5), 5, "CREATES", id="creates of all"),
        pytest.param(Ceilings(pool_usd_per_hour=1.0), 4, "POOL_USD_PER_HOUR", id="money of a pool"),
        pytest.param(Ceilings(usd_per_hour=0.6), 2, "USD_PER_HOUR", id="money of all"),
    ],
)
def test_no_plan_gets_past_a_ceiling(ceilings: Ceilings, made: int, setting: str) -> None:
    async def story(world: World) -> None:
        world.ceilings = ceilings
        await world.start()
        await world.apply(nodes=8)
        await world.until(lambda: world.pool_is("hello", PoolCondition.WITHIN_LIMITS, "False/CeilingReached"))
        await asyncio.sleep(300)
        assert len(world.ours()) == made
        within = find((await world.pool()).status.conditions, PoolCondition.WITHIN_LIMITS)
        assert within is not None
        assert f"SKYWARD_CONTROLLERS__CEILINGS__{setting}" in within.message

        await world.apply(nodes=made)
        await world.settled()
        assert await world.pool_is("hello", PoolCondition.WITHIN_LIMITS, "True/AsDesired")

    run_world(story)


def test_machines_that_no_record_knows_count_as_well() -> None:
    async def story(world: World) -> None:
        world.ceilings = Ceilings(instances=5)
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        for number in range(3):
            world.cloud.add_orphan(f"stray-{number}", world.store.installation)
        world.cloud.faults.delete_errors = [ProviderUnavailable("503")] * 1000
        await asyncio.sleep(30)
        await world.apply(nodes=4)
        await asyncio.sleep(120)
        assert len(world.ours()) == 5

        world.cloud.faults.delete_errors.clear()
        await world.settled()

    run_world(story)


def test_creates_are_counted_for_ten_minutes_and_then_go_on() -> None:
    async def story(world: World) -> None:
        world.ceilings = Ceilings(pool_creates=2)
        await world.start()
        await world.apply(nodes=5)
        await world.settled(within_s=1500)

        assert [request.count for request in world.cloud.created] == [2, 2, 1]

    run_world(story)


def test_after_a_refusal_instances_are_asked_for_one_two_four_at_a_time() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [InsufficientCapacity("sold out", "local/small/on-demand")]
        await world.start()
        await world.apply(nodes=20)
        await world.settled()

        assert [request.count for request in world.cloud.created] == [1, 2, 4, 8, 5]

    run_world(story)


def test_after_failed_boots_nodes_come_up_one_two_four_at_a_time() -> None:
    async def story(world: World) -> None:
        world.machines.failing_bootstraps = 2
        most = 0
        await world.start()
        await world.apply(nodes=2)
        await world.until(lambda: _failures(world, 2))
        await world.apply(nodes=12)

        async def done() -> bool:
            nonlocal most
            standing = await uids(world)
            ready = sum(world.is_serving(node) for node in await world.nodes() if node.metadata.uid in standing)
            most = max(most, len(standing) - 2 * ready)
            return await world.is_settled()

        await world.until(done, within_s=1200)
        assert most <= 1, "no more come up at once than are ready, and one"

    run_world(story)


async def _failures(world: World, count: int) -> bool:
    return sum(bool(node.status.failure) for node in await world.nodes()) >= count


# --- deleting ----------------------------------------------------------------------------------------------------


def test_a_deletion_that_takes_too_long_is_told_once_and_goes_on_for_ever() -> None:
    async def story(world: World) -> None:
        victim, _ = await settled(world, 2)
        world.cloud.faults.delete_errors = [ProviderUnavailable("503")] * 100_000
        await world.delete(Node, victim.key)
        await asyncio.sleep(7200)
        overdue = [event for event in await world.events() if event.reason is Reason.DELETION_OVERDUE]
        assert [event.type for event in overdue] == ["Warning"]
        assert "0.25 $/h" in overdue[0].note
        node = next(node for node in await world.nodes() if node.key == victim.key)
        assert condition(node, NodeCondition.TERMINATING) == f"{Status.TRUE}/{Reason.DELETION_OVERDUE}"
        calls = world.cloud.calls["delete"]
        await asyncio.sleep(600)
        assert world.cloud.calls["delete"] >= calls + 2, "no longer than five minutes between two requests"

        world.cloud.faults.delete_errors.clear()
        await world.settled()

    run_world(story)
