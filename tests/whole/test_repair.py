"""Unhealthy nodes, announced losses, bad hosts and kept failures, told with the whole operator on fakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skyward.api import Node, NodeCondition, Pool, PoolCondition
from skyward.api.meta import KEEP_ON_FAILURE
from skyward.facts import CheckState, InstanceState
from skyward.planner import is_gone
from tests.whole.world import World, condition, run_world

every_order = pytest.mark.parametrize("seed", [0, 1, 2])
CHECK: dict[str, Any] = {"command": "test ! -e sick"}


def sicken(world: World, node: Node, why: str = "exit status 1: sick") -> None:
    world.machines.say(node.metadata.uid, check=CheckState.FAILING, check_message=why)


async def live(world: World) -> list[Node]:
    return [node for node in await world.nodes() if not is_gone(node)]


async def node(world: World, key: str) -> Node:
    return next(node for node in await world.nodes() if node.key == key)


@every_order
def test_an_unhealthy_node_is_replaced_and_its_record_says_why(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3, health_check=CHECK)
        await world.settled()
        victim = (await world.nodes())[1]
        sicken(world, victim)
        await world.until(lambda: world.lacks(victim.metadata.uid))
        await world.settled()

        assert victim.status.provider_id not in world.ours()
        assert world.most_machines() <= 4, "only the slot of the one that leaves was filled before it was gone"
        record = await node(world, victim.key)
        assert record.status.failure == "its health check fails: exit status 1: sick"
        assert "Unhealthy" in record.status.retire_reason

    run_world(story, seed)


@every_order
def test_a_node_under_repair_takes_no_new_work_and_may_finish_what_runs(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3, health_check=CHECK, drain_timeout="5m")
        await world.settled()
        world.machines.work_s = 60.0
        task = await world.submit(3)
        await asyncio.sleep(5)
        victim = (await world.nodes())[0]
        sicken(world, victim)
        await asyncio.sleep(20)

        leaving = await node(world, victim.key)
        assert leaving.metadata.deletion_timestamp is not None
        assert condition(leaving, NodeCondition.DRAINED) == "False/Draining"
        assert not world.link.configs[victim.metadata.uid].schedulable
        await world.until(lambda: world.is_done(task))
        assert max(world.machines.executed.values()) == 1, "nothing was run twice"
        await world.settled()

    run_world(story, seed)


@every_order
def test_a_drain_ends_at_its_deadline_and_no_later(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2, health_check=CHECK, drain_timeout="30s")
        await world.settled()
        world.machines.work_s = 100_000.0
        await world.submit(2)
        await asyncio.sleep(5)
        victim = (await world.nodes())[0]
        sicken(world, victim)
        await asyncio.sleep(20)
        assert victim.status.provider_id in world.ours()
        await asyncio.sleep(30)

        assert victim.status.provider_id not in world.ours()

    run_world(story, seed)


def test_a_check_that_fails_during_a_drain_changes_nothing() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2, health_check=CHECK, drain_timeout="1h")
        await world.settled()
        world.machines.work_s = 600.0
        await world.submit(2)
        await asyncio.sleep(5)
        await world.apply(nodes=1, health_check=CHECK, drain_timeout="1h")
        await asyncio.sleep(10)
        victim = next(one for one in await world.nodes() if one.metadata.deletion_timestamp is not None)
        reason = victim.status.retire_reason
        sicken(world, victim)
        await asyncio.sleep(120)

        assert (await node(world, victim.key)).status.retire_reason == reason
        assert victim.status.provider_id in world.ours(), "its task is still waited for"

    run_world(story)


@pytest.mark.slow
@every_order
def test_no_more_nodes_are_repaired_at_once_than_allowed(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=10, health_check={**CHECK, "maxInFlight": 2})
        await world.settled()
        victims = (await world.nodes())[:4]
        for victim in victims:
            sicken(world, victim)
        worst = 0
        for _ in range(400):
            await asyncio.sleep(0.5)
            nodes = await live(world)
            standing = [one for one in nodes if one.metadata.deletion_timestamp is None]
            ill = [one for one in standing if condition(one, NodeCondition.HEALTHY).startswith("False")]
            ready = [one for one in standing if condition(one, NodeCondition.READY).startswith("True")]
            worst = max(worst, 10 - len(ill) - len(ready))
        await world.settled(within_s=1800)

        assert worst == 2

    run_world(story, seed)


@pytest.mark.slow
@every_order
def test_too_many_unhealthy_nodes_stop_repair_until_fewer_are(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=5, health_check=CHECK)
        await world.settled()
        victims = (await world.nodes())[:3]
        for victim in victims:
            sicken(world, victim)
        await asyncio.sleep(60)
        first = (await live(world))[0]
        await asyncio.sleep(1800)

        assert len(world.ours()) == 5
        assert {one.metadata.uid for one in victims} <= {one.metadata.uid for one in await live(world)}
        assert condition(await world.pool(), PoolCondition.STALLED) == "True/RemediationBlocked"
        assert condition(await world.pool(), PoolCondition.REMEDIATING) == "False/RemediationBlocked"
        assert (await live(world))[0] == first, "a world that stands still writes nothing"
        assert not any(world.link.configs[one.metadata.uid].schedulable for one in victims), (
            "no work for them meanwhile"
        )

        world.machines.say(victims[0].metadata.uid, check=CheckState.PASSING)
        await world.settled(within_s=1800)
        assert victims[0].status.provider_id in world.ours()
        assert world.link.configs[victims[0].metadata.uid].schedulable

    run_world(story, seed)


def test_a_check_that_never_passes_fails_new_nodes_and_stops_the_template() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1, health_check={**CHECK, "startupTimeout": "2m"})
        for _ in range(600):
            await asyncio.sleep(5)
            for one in await live(world):
                sicken(world, one, "exit status 7: no such device")
            if await world.pool_is("hello", PoolCondition.STALLED, "True/TemplateFailing"):
                break

        failed = next(one for one in await world.nodes() if one.status.failure)
        assert "no such device" in failed.status.failure
        assert "not ready for 120 s" in failed.status.failure

    run_world(story)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_repairs_that_do_not_help_come_ever_more_slowly_also_across_restarts(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1, health_check=CHECK)
        await world.settled()
        seen: set[str] = set()
        began = world.clock.now()
        while world.clock.now() < began + 3600:
            for one in await live(world):
                if condition(one, NodeCondition.READY).startswith("True"):
                    seen.add(one.metadata.uid)
                    sicken(world, one)
            await asyncio.sleep(2)
            if len(seen) == 4 and world.operator is not None and world.clock.now() < began + 600:
                await world.restart()

        assert 5 <= len(seen) <= 9, "without backoff it would be about a hundred"
        decisions = await world.store.read(lambda tx: tx.decisions(_uid))
        assert any(one.decision.rule == "repair-backoff" for one in decisions)

    _uid = ""

    async def with_uid(world: World) -> None:
        nonlocal _uid
        await world.apply(nodes=1, health_check=CHECK)
        _uid = (await world.pool()).metadata.uid
        await story(world)

    run_world(with_uid, seed)


# --- announced losses --------------------------------------------------------------------------------------------


@every_order
@pytest.mark.parametrize("heard_by", ["driver", "agent"])
def test_an_announced_loss_is_replaced_before_it_happens(seed: int, heard_by: str) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        victim = (await world.nodes())[0]
        announce(world, victim, heard_by)
        await asyncio.sleep(15)
        await world.settled(within_s=100)

        assert world.cloud.calls["create"] == 2
        assert world.most_machines() == 3, "the other one was begun while this one still ran"
        assert await world.lacks(victim.metadata.uid)

    run_world(story, seed)


def announce(world: World, victim: Node, heard_by: str) -> None:
    from skyward.facts import Notice

    if heard_by == "driver":
        world.cloud.announce(victim.status.provider_id, 120)
    else:
        world.machines.say(victim.metadata.uid, notice=Notice(world.clock.now() + 120, "spot interruption"))


@every_order
def test_what_runs_on_a_node_that_is_taken_away_is_stopped_in_time_and_run_elsewhere(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2, drain_timeout="1h")
        await world.settled()
        world.machines.work_s = 300.0
        task = await world.submit(2)
        await asyncio.sleep(5)
        victim = (await world.nodes())[0]
        world.cloud.announce(victim.status.provider_id, 120)
        await asyncio.sleep(60)
        assert world.queue.held(victim.metadata.uid) == 1, "it may go on for now"
        await asyncio.sleep(59)
        assert world.queue.held(victim.metadata.uid) == 0, "its attempt was taken back before the machine was gone"
        if victim.status.provider_id in world.cloud.alive:
            world.cloud.lose(victim.status.provider_id)
        await world.until(lambda: world.is_done(task), within_s=2000)
        await world.settled()

        assert (await world.task(task)).status.items.succeeded == 2

    run_world(story, seed)


def test_a_notice_heard_twice_does_nothing_twice() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        victim = (await world.nodes())[0]
        announce(world, victim, "driver")
        announce(world, victim, "agent")
        await asyncio.sleep(10)
        announce(world, victim, "driver")
        await asyncio.sleep(60)
        await world.settled()

        assert world.cloud.calls["create"] == 2
        assert world.cloud.calls["delete"] == 1

    run_world(story)


def test_in_a_paused_pool_a_notice_is_only_told() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        await world.apply(nodes=1, paused=True)
        victim = (await world.nodes())[0]
        announce(world, victim, "driver")
        await asyncio.sleep(60)

        told = await node(world, victim.key)
        assert condition(told, NodeCondition.INTERRUPTED) == "True/Interrupted"
        assert not told.spec.unschedulable
        assert told.metadata.deletion_timestamp is None

    run_world(story)


# --- poison hosts ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_order
def test_a_host_that_fails_its_nodes_is_left_alone_also_by_the_next_operator(seed: int) -> None:
    async def story(world: World) -> None:
        world.cloud.hosts = ("bad", "good")
        world.machines.always_fails = lambda request: host_of(world, request.provider_id) == "bad"
        await world.start()
        await world.apply(nodes=1)
        await world.settled(within_s=1200)
        assert [host_of(world, key) for key in world.ours()] == ["good"]
        assert [request.avoid_hosts for request in world.cloud.created] == [(), ("bad",)]

        await world.restart()
        await asyncio.sleep(30)
        await world.apply(nodes=2)
        await world.settled()
        assert {host_of(world, key) for key in world.ours()} == {"good"}

        await asyncio.sleep(3600)
        await world.apply(nodes=3)
        await asyncio.sleep(10)
        assert world.cloud.created[-1].avoid_hosts == (), "one failure is forgiven after a while"

    run_world(story, seed)


def test_what_a_deleted_pool_found_out_about_a_host_outlives_it_and_its_operator() -> None:
    async def story(world: World) -> None:
        world.cloud.hosts = ("bad", "good")
        world.machines.always_fails = lambda request: host_of(world, request.provider_id) == "bad"
        await world.start()
        await world.apply(nodes=1)
        await world.settled(within_s=1200)
        await world.delete(Pool, "default/hello")
        await world.until(lambda: _is_gone(world))
        await world.restart()
        before = len(world.cloud.created)
        await world.apply("other", nodes=1)
        await world.settled("other")

        assert world.cloud.created[before].avoid_hosts == ("bad",)

    run_world(story)


async def _is_gone(world: World) -> bool:
    return await world.store.read(lambda tx: tx.get(Pool, "default/hello")) is None


def host_of(world: World, instance_id: str) -> str:
    return world.cloud.alive[instance_id].host_id


def test_a_host_whose_machines_die_early_is_left_alone() -> None:
    async def story(world: World) -> None:
        world.cloud.hosts = ("bad", "good")
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        victim = (await world.nodes())[0]
        assert victim.status.host_id == "bad"
        world.cloud.lose(victim.status.provider_id, InstanceState.FAILED)
        await world.until(lambda: world.lacks(victim.metadata.uid))
        await world.restart()
        await world.settled()

        assert [host_of(world, key) for key in world.ours()] == ["good"]

    run_world(story)


# --- kept failures -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@every_order
def test_a_failed_node_is_kept_for_a_look_until_the_annotation_goes(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.annotate("hello", KEEP_ON_FAILURE, "true")
        world.machines.failing_bootstraps = 1
        await world.until(lambda: ready_is(world, 2), within_s=1200)
        await asyncio.sleep(3600)

        kept = next(one for one in await world.nodes() if one.status.failure)
        assert len(world.ours()) == 3, "its instance stays, and the pool has its two nodes"
        assert kept.status.provider_id in world.ours()
        assert kept.spec.unschedulable
        assert condition(kept, NodeCondition.READY) == "False/KeptOnFailure"
        ready = next(one for one in kept.status.conditions if one.type == "Ready")
        assert "0.25 $/h" in ready.message
        assert condition(await world.pool(), PoolCondition.READY).startswith("True")
        assert any(event.reason == "KeptOnFailure" for event in await world.events())

        version = await world.version()
        await asyncio.sleep(3600)
        assert await world.version() == version, "a world that stands still writes nothing"

        await world.annotate("hello", KEEP_ON_FAILURE, "false")
        await world.settled()
        assert kept.status.provider_id not in world.ours()

    run_world(story, seed)


async def ready_is(world: World, count: int) -> bool:
    return (await world.pool()).status.ready == count


def test_an_unhealthy_node_is_kept_and_replaced_and_goes_when_it_is_deleted() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3, health_check=CHECK)
        await world.annotate("hello", KEEP_ON_FAILURE, "true")
        await world.settled()
        victim = (await world.nodes())[1]
        sicken(world, victim)
        await world.until(lambda: has_machines(world, 4), within_s=300)
        await world.until(lambda: ready_is(world, 3), within_s=300)
        await asyncio.sleep(1200)

        assert victim.status.provider_id in world.ours()
        assert len(world.ours()) == 4
        await world.delete(Node, victim.key)
        await world.settled()
        assert victim.status.provider_id not in world.ours()

    run_world(story)


async def has_machines(world: World, count: int) -> bool:
    return len(world.ours()) == count


def test_a_deleted_pool_takes_what_it_kept_with_it() -> None:
    async def story(world: World) -> None:
        from skyward.api import Pool

        await world.start()
        await world.apply(nodes=1)
        await world.annotate("hello", KEEP_ON_FAILURE, "true")
        world.machines.failing_bootstraps = 1
        await world.until(lambda: ready_is(world, 1), within_s=1200)
        assert len(world.ours()) == 2
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone)

    run_world(story)


# --- agents that come and go -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_restarts_of_an_agent_that_ran_well_for_an_hour_since_are_forgotten() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        victim = (await world.nodes())[0]
        for _ in range(5):
            await asyncio.sleep(2 * 3600)
            world.machines.kill_agent(victim.metadata.uid)
            await asyncio.sleep(60)
            await world.settled()

        assert [one.metadata.uid for one in await live(world)] == [victim.metadata.uid], "never replaced"
        assert (await node(world, victim.key)).status.restarts == 1

    run_world(story)


@pytest.mark.slow
@every_order
def test_an_agent_that_keeps_dying_costs_its_node(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        victim = (await world.nodes())[0]
        for _ in range(4):
            await asyncio.sleep(300)
            world.machines.kill_agent(victim.metadata.uid)
        await world.until(lambda: world.lacks(victim.metadata.uid))
        await world.settled()

    run_world(story, seed)


def test_an_operator_restart_warns_of_nobody_while_the_agents_come_back() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3, health_check=CHECK)
        await world.settled()
        before = {(one.metadata.name, one.count) for one in await world.events() if one.regarding.kind == "Node"}
        for _ in range(3):
            await world.restart()
            await asyncio.sleep(60)
            await world.settled()

        after = await world.events()
        assert not [event for event in after if event.type == "Warning"]
        assert {(one.metadata.name, one.count) for one in after if one.regarding.kind == "Node"} == before

    run_world(story)


def test_an_agent_that_does_not_come_back_after_an_operator_restart_is_warned_of() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1, connection="direct")
        await world.settled()
        victim = (await world.nodes())[0]
        await world.kill()
        world.machines.kill_agent(victim.metadata.uid)
        await world.start()
        await asyncio.sleep(20)
        assert not [event for event in await world.events() if event.type == "Warning"]
        await asyncio.sleep(60)
        await world.settled()

        warned = [event for event in await world.events() if event.type == "Warning"]
        assert "AgentLost" in {event.reason for event in warned}
        assert {event.regarding.name for event in warned} == {victim.metadata.name}

    run_world(story)


# --- who a node is -----------------------------------------------------------------------------------------------


@every_order
def test_an_address_that_another_machine_has_now_attaches_nobody_to_it(seed: int) -> None:
    """All machines of this cloud have one address: an agent is known by its node's credential alone."""

    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        first, second = await world.nodes()
        assert first.status.address == second.status.address
        world.cloud.vanish(first.status.provider_id)
        await asyncio.sleep(5)
        gone, there = await node(world, first.key), await node(world, second.key)

        assert not condition(gone, NodeCondition.READY).startswith("True")
        assert condition(there, NodeCondition.READY).startswith("True")
        await world.settled()
        assert second.metadata.uid in {one.metadata.uid for one in await live(world)}

    run_world(story, seed)


@every_order
def test_a_machine_that_its_provider_ended_and_whose_agent_lives_on_is_replaced_and_fenced(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.machines.work_s = 200.0
        task = await world.submit(2)
        await asyncio.sleep(5)
        zombie = (await world.nodes())[0]
        world.cloud._machines[zombie.status.provider_id].lost = InstanceState.GONE
        await world.until(lambda: world.is_done(task), within_s=2000)
        await world.settled()

        assert await world.lacks(zombie.metadata.uid)
        assert zombie.metadata.uid in world.link.dismissed
        items = (await world.task(task)).status.items
        assert (items.succeeded, items.failed) == (2, 0)

    run_world(story, seed)


def test_a_new_agent_of_a_node_must_pass_the_check_before_the_node_is_ready() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1, health_check=CHECK)
        await world.settled()
        victim = (await world.nodes())[0]
        world.machines.said[victim.metadata.uid] = {"check": CheckState.UNKNOWN}
        world.machines.kill_agent(victim.metadata.uid)
        await asyncio.sleep(60)
        again = await node(world, victim.key)
        assert condition(again, NodeCondition.READY) == "False/HealthCheckPending"
        assert condition(again, NodeCondition.HEALTHY) == "Unknown/HealthCheckPending"

        world.machines.say(victim.metadata.uid, check=CheckState.PASSING)
        await world.settled()

    run_world(story)
