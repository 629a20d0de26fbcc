"""The whole operator on fakes: from a pool to ready nodes, through what happens to them, and back to nothing."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import Node, NodeCondition, Pool, PoolCondition
from skyward.api.meta import RECONCILE_REQUESTED
from skyward.facts import InstanceState
from tests.whole.world import World, condition, run_world

SEEDS = range(3)
every_order = pytest.mark.parametrize("seed", SEEDS)


@every_order
def test_a_pool_becomes_ready_nodes_with_one_create_call(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=5)
        await world.settled(within_s=60)

        assert world.cloud.calls["create"] == 1
        assert len(world.ours()) == 5
        assert (await world.pool()).status.hourly_cost == "1.25"

    run_world(story, seed)


@every_order
def test_a_deleted_pool_leaves_nothing(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone, within_s=60)

        assert len(world.credentials.revoked) == 3

    run_world(story, seed)


@every_order
def test_scales_up_and_down(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        kept = {node.key for node in await world.nodes()}
        await world.apply(nodes=5)
        await world.settled()
        assert kept < {node.key for node in await world.nodes()}
        await world.apply(nodes=1)
        await world.settled()
        assert [node.spec.slot for node in await world.nodes()] == [0]
        await world.apply(nodes=0)
        await world.settled()
        assert not world.ours()

    run_world(story, seed)


@every_order
@pytest.mark.parametrize(("surge", "unavailable"), [(0, 1), (1, 0), (2, 2)])
def test_a_changed_template_rolls_the_nodes_within_the_budget(seed: int, surge: int, unavailable: int) -> None:
    async def story(world: World) -> None:
        rollout = {"max_surge": surge, "max_unavailable": unavailable}
        await world.start()
        await world.apply(nodes=4, **rollout)
        await world.settled()
        before = {node.metadata.uid for node in await world.nodes()}
        await world.apply(nodes=4, image={"env": {"A": "1"}}, **rollout)

        async def rolled() -> bool:
            ready = [node for node in await world.nodes() if world.is_serving(node)]
            assert len(ready) >= 4 - unavailable
            assert sum(node.metadata.deletion_timestamp is None for node in await world.nodes()) <= 4 + surge
            return await world.is_settled()

        await world.until(rolled)

        assert not before & {node.metadata.uid for node in await world.nodes()}

    run_world(story, seed)


@every_order
@pytest.mark.parametrize("how", ["preempted", "vanished", "failed"])
def test_a_lost_machine_is_replaced(seed: int, how: str) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        victim = (await world.nodes())[1]
        if how == "vanished":
            world.cloud.vanish(victim.status.provider_id)
        else:
            world.cloud.lose(victim.status.provider_id, InstanceState(how))
        await world.until(lambda: world.lacks(victim.metadata.uid))
        await world.settled()

        assert len(world.ours()) == 3
        assert len({node.spec.slot for node in await world.nodes() if not node.status.failure}) == 3

    run_world(story, seed)


@every_order
def test_a_dead_agent_is_started_again_on_the_same_machine(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        victim = (await world.nodes())[0]
        world.machines.kill_agent(victim.metadata.uid)
        await asyncio.sleep(2)
        assert not await world.is_settled()
        await world.settled()

        assert victim.status.provider_id in world.ours()
        assert world.cloud.calls["create"] == 1
        again = next(node for node in await world.nodes() if node.key == victim.key)
        assert again.status.restarts == 1

    run_world(story, seed)


def test_a_node_deleted_by_its_user_is_replaced() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        victim = (await world.nodes())[0]
        await world.delete(Node, victim.key)
        await world.until(lambda: world.lacks(victim.metadata.uid))
        await world.settled()

        assert victim.status.provider_id not in world.ours()

    run_world(story)


@pytest.mark.parametrize(("seed", "hours"), [(0, 1), (1, 1), pytest.param(2, 24, marks=pytest.mark.slow)])
def test_an_idle_operator_writes_nothing_and_changes_nothing(seed: int, hours: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=4)
        await world.settled()
        await asyncio.sleep(60)
        version, calls = await world.version(), world.cloud.calls.copy()
        await asyncio.sleep(hours * 3600)

        assert await world.version() == version
        del world.cloud.calls["list"], calls["list"]
        assert world.cloud.calls == calls
        assert all(controller.failures == 0 for controller in world.controllers)

    run_world(story, seed)


@every_order
def test_a_restarted_operator_adopts_what_is_there(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=4)
        await world.settled()
        before = {(node.metadata.uid, node.status.provider_id) for node in await world.nodes()}
        for _ in range(5):
            await world.restart()
            await asyncio.sleep(20)
        await world.settled()

        assert {(node.metadata.uid, node.status.provider_id) for node in await world.nodes()} == before
        assert world.cloud.calls["create"] == 1
        assert world.cloud.calls["delete"] == 0

    run_world(story, seed)


def test_changes_nothing_before_the_first_complete_listing() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        await world.kill()
        world.cloud.faults.listing_is_down = True
        await world.apply(nodes=4, image={"env": {"A": "1"}})
        before = world.cloud.calls.copy()
        await world.start()
        await asyncio.sleep(600)
        assert world.cloud.calls["create"] == before["create"]
        assert world.cloud.calls["delete"] == 0
        assert condition(await world.pool(), PoolCondition.PROVIDER_READY) == "Unknown/NotSynced"

        world.cloud.faults.listing_is_down = False
        await world.settled(within_s=1200)

    run_world(story)


def test_an_outage_of_the_listing_destroys_nothing() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        world.cloud.faults.listing_is_down = True
        await asyncio.sleep(3600)
        assert len(world.ours()) == 3
        assert world.cloud.calls["create"] == 1
        world.cloud.faults.listing_is_down = False
        await world.settled()
        assert world.cloud.calls["delete"] == 0

    run_world(story)


@every_order
def test_a_template_that_always_fails_stops_itself_and_a_corrected_one_goes_on(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        world.machines.always_fails = lambda request: True
        await world.apply(nodes=3)
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, "True/TemplateFailing"), 1200)
        await world.until(world.has_no_machines, 120)
        created = len(world.cloud.created)
        await asyncio.sleep(3600)
        assert len(world.cloud.created) == created
        assert created <= 3 + 3
        failures = [node.status.failure for node in await world.nodes()]
        assert any("no such package" in failure for failure in failures)

        world.machines.always_fails = lambda request: False
        await world.apply(nodes=3, image={"env": {"FIXED": "1"}})
        await world.settled()

    run_world(story, seed)


def test_a_stalled_pool_tries_again_when_its_user_asks() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.machines.always_fails = lambda request: True
        await world.apply(nodes=1)
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, "True/TemplateFailing"), 1200)
        await world.until(world.has_no_machines, 120)
        world.machines.always_fails = lambda request: False
        await world.annotate("hello", RECONCILE_REQUESTED, world.time())
        await world.settled()

    run_world(story)


@every_order
def test_a_rollout_to_a_failing_template_keeps_the_working_nodes(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=4)
        await world.settled()
        world.machines.always_fails = lambda request: True
        await world.apply(nodes=4, image={"env": {"BROKEN": "1"}})
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, "True/TemplateFailing"), 3600)
        await asyncio.sleep(600)

        assert sum(world.is_serving(node) for node in await world.nodes()) == 3

    run_world(story, seed)


def test_a_pool_of_the_same_name_after_deletion_is_another_pool() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        first = {node.metadata.uid for node in await world.nodes()}
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone)
        await world.apply(nodes=2)
        await world.settled()

        assert not first & {node.metadata.uid for node in await world.nodes()}

    run_world(story)


def test_a_paused_pool_is_left_as_it_is() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        await world.apply(nodes=4, paused=True)
        world.cloud.vanish((await world.nodes())[0].status.provider_id)
        await asyncio.sleep(600)
        assert len(await world.nodes()) == 2
        assert world.cloud.calls["create"] == 1
        await world.apply(nodes=4)
        await world.settled()

    run_world(story)


def test_pools_do_not_disturb_each_other() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.machines.always_fails = lambda request: request.node.startswith("default/bad")
        for name in ("one", "bad", "two"):
            await world.apply(name, nodes=2)
        await world.settled("one", 60)
        await world.settled("two", 60)
        await world.delete(Pool, "default/bad")
        await world.until(lambda: world.lacks_pool("bad"))
        await world.settled("one", 5)

    run_world(story)


def test_fields_that_change_in_place_reach_the_agents_and_roll_nothing() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        before = {node.metadata.uid for node in await world.nodes()}
        await world.apply(nodes=2, env={"A": "1"}, concurrency=4, orphan_timeout="1h")
        await asyncio.sleep(5)

        assert before == {node.metadata.uid for node in await world.nodes()}
        for rank, node in enumerate(await world.nodes()):
            config = world.link.configs[node.metadata.uid]
            assert (config.env, config.lanes, config.orphan_timeout_s) == ((("A", "1"),), 4, 3600)
            assert config.rank == rank
            assert [name for name, _ in config.world] == [one.metadata.name for one in await world.nodes()]

    run_world(story)


def test_what_may_still_cost_money_is_counted_although_nothing_is_listed() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        await world.kill()
        world.cloud.faults.listing_is_down = True
        await world.start()
        await asyncio.sleep(60)

        status = (await world.pool()).status
        assert (status.hourly_cost, status.offering) == ("0.5", "small")

    run_world(story)


def test_records_of_failed_nodes_cost_nothing() -> None:
    async def story(world: World) -> None:
        await world.start()
        world.machines.always_fails = lambda request: True
        await world.apply(nodes=1)
        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, "True/TemplateFailing"), 1200)
        await world.until(world.has_no_machines, 120)
        await asyncio.sleep(30)

        status = (await world.pool()).status
        assert (status.hourly_cost, status.offering, status.nodes) == ("0", "", 0)

    run_world(story)


def test_a_node_whose_instance_changed_is_replaced_and_says_so() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        victim = (await world.nodes())[0]
        world.cloud.drift[victim.status.provider_id] = "it has one GPU less"
        await world.until(lambda: world.lacks(victim.metadata.uid), 120)
        await world.settled()

        assert any("one GPU less" in event.note for event in await world.events() if event.reason == "InstanceDrifted")

    run_world(story)


def test_a_node_of_an_older_template_says_so_until_it_is_what_is_wanted_again() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        await world.apply(nodes=1, paused=True, image={"env": {"A": "1"}})
        await asyncio.sleep(5)
        [node] = await world.nodes()
        assert condition(node, NodeCondition.DRIFTED) == "True/TemplateChanged"

        await world.apply(nodes=1)
        await asyncio.sleep(5)

        [again] = await world.nodes()
        assert again.metadata.uid == node.metadata.uid
        assert condition(again, NodeCondition.DRIFTED) == "absent"

    run_world(story)


@every_order
def test_an_instance_whose_call_lost_its_answer_is_adopted_and_that_is_told(seed: int) -> None:
    async def story(world: World) -> None:
        world.cloud.faults.lost_replies = 1
        await world.start()
        await world.apply(nodes=2)
        await world.settled()

        assert "Adopted" in {event.reason for event in await world.events()}

    run_world(story, seed, driver={"has_token": False, "visibility_s": 10.0})
