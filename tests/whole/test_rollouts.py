"""Roll-outs in the whole operator: what users do, what is kept meanwhile, and what is on record."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skyward.api import Node, Pool, PoolCondition, Reason, template_hash
from skyward.api.meta import DO_NOT_DISRUPT, RESTARTED
from skyward.controllers.pool.revisions import KEPT
from skyward.facts import Revision
from tests.whole.world import World, condition, run_world

every_order = pytest.mark.parametrize("seed", range(3))
VERSION_2 = {"env": {"VERSION": "2"}}


async def revisions(world: World) -> tuple[Revision, ...]:
    uid = (await world.pool()).metadata.uid
    return await world.store.read(lambda tx: tx.revisions(uid))


async def serving(world: World) -> int:
    return sum(world.is_serving(node) for node in await world.nodes())


async def settles_with(world: World, least: int, within_s: float = 600.0) -> None:
    """As desired in the end, and never fewer nodes at work meanwhile."""
    end = world.clock.now() + within_s
    await asyncio.sleep(1)
    while not await world.is_settled():
        assert await serving(world) >= least, await world.describe()
        assert world.clock.now() < end, await world.describe()
        await asyncio.sleep(0.25)


async def mark(world: World, key: str, name: str, value: str | None) -> None:
    def work(tx: Any) -> None:
        node = tx.get(Node, key)
        kept = {one: text for one, text in node.metadata.annotations.items() if one != name}
        annotations = kept if value is None else {**kept, name: value}
        tx.put(node.replace(metadata=node.metadata.replace(annotations=annotations)))

    await world.write(work)


@every_order
def test_launch_before_drain_keeps_every_node_at_work(seed: int) -> None:
    async def story(world: World) -> None:
        rollout = {"maxUnavailable": 1, "maxSurge": 1, "minReady": "10s"}
        await world.start()
        await world.apply(nodes=3, rollout=rollout)
        await world.settled()
        await world.apply(nodes=3, rollout=rollout, image=VERSION_2)

        await settles_with(world, least=3)

        wanted = template_hash((await world.pool()).spec)
        assert {node.spec.template_hash for node in await world.nodes()} == {wanted}
        assert world.most_machines() <= 5  # four that stand, and one that is on its way out

    run_world(story, seed)


@every_order
def test_a_canary_that_never_works_costs_one_node(seed: int) -> None:
    async def story(world: World) -> None:
        rollout = {"maxUnavailable": 3, "canary": 1}
        await world.start()
        await world.apply(nodes=4, rollout=rollout)
        await world.settled()
        world.machines.always_fails = lambda request: True
        await world.apply(nodes=4, rollout=rollout, image={"pip": ["no-such-package"]})

        await world.until(lambda: world.pool_is("hello", PoolCondition.STALLED, "True/TemplateFailing"), 900)

        assert await serving(world) == 3

    run_world(story, seed)


@every_order
def test_recreate_never_has_two_templates_at_once(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3, rollout={"strategy": "Recreate"})
        await world.settled()
        await world.apply(nodes=3, rollout={"strategy": "Recreate"}, image=VERSION_2)
        while not await world.is_settled():
            assert len({node.spec.template_hash for node in await world.nodes()}) <= 1
            await asyncio.sleep(0.5)

    run_world(story, seed)


@pytest.mark.slow
def test_a_window_opens_without_anybodys_doing_and_then_nodes_go_one_by_one() -> None:
    async def story(world: World) -> None:
        closed = {"nodes": 0, "schedule": "0 * * * *", "duration": "59m"}
        await world.start()
        await world.apply(nodes=2, disruption={"budgets": [closed]})
        await world.settled()
        await world.apply(nodes=2, disruption={"budgets": [closed]}, image=VERSION_2)
        await asyncio.sleep(60)
        before = {node.key for node in await world.nodes()}
        opens = 3600 - 60 - world.clock.now() % 3600
        assert opens > 0
        await asyncio.sleep(opens - 1)
        assert {node.key for node in await world.nodes()} == before

        await world.settled(within_s=90)

    run_world(story)


def test_a_restart_makes_every_node_anew_and_is_no_new_revision() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        before = {node.key for node in await world.nodes()}
        await asyncio.sleep(5)
        await world.annotate("hello", RESTARTED, world.time())

        await settles_with(world, least=1)

        assert not before & {node.key for node in await world.nodes()}
        assert [one.number for one in await revisions(world)] == [1]

    run_world(story)


def test_a_protected_node_stays_until_it_is_let_go() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        kept = (await world.nodes())[0]
        await mark(world, kept.key, DO_NOT_DISRUPT, "true")
        await world.apply(nodes=2, image=VERSION_2)
        await asyncio.sleep(300)
        assert kept.key in {node.key for node in await world.nodes()}
        assert condition(await world.pool(), PoolCondition.ROLLING_OUT) == "True/TemplateChanged"
        await mark(world, kept.key, DO_NOT_DISRUPT, None)

        await world.settled()

        assert await world.lacks(kept.metadata.uid)

    run_world(story)


def test_each_template_is_a_revision_and_the_last_ones_are_kept() -> None:
    async def story(world: World) -> None:
        await world.start()
        for version in range(KEPT + 2):
            await world.apply(nodes=0, image={"env": {"VERSION": str(version)}})
            await asyncio.sleep(2)
        await world.apply(nodes=1, image={"env": {"VERSION": "1"}})
        await world.settled()

        found = await revisions(world)

        assert [one.number for one in found] == list(range(4, KEPT + 4))
        assert found[-1].template_hash == template_hash((await world.pool()).spec)
        assert found[-1].template["image"] == {"env": {"VERSION": "1"}}

    run_world(story)


def test_an_operator_restart_adds_no_revision_and_the_pools_end_drops_them() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        uid = (await world.pool()).metadata.uid
        await world.restart()
        await asyncio.sleep(60)
        assert [one.number for one in await revisions(world)] == [1]
        await world.delete(Pool, "default/hello")

        await world.until(world.is_gone)

        assert await world.store.read(lambda tx: tx.revisions(uid)) == ()

    run_world(story)


@pytest.mark.slow
@pytest.mark.parametrize("held", [Reason.ON_DELETE, Reason.NOT_BEFORE, Reason.BUDGET_EXHAUSTED], ids=str)
def test_a_roll_out_that_is_held_writes_nothing_while_it_waits(held: Reason) -> None:
    more: dict[Reason, dict[str, Any]] = {
        Reason.ON_DELETE: {"rollout": {"strategy": "OnDelete"}},
        Reason.NOT_BEFORE: {"rollout": {"notBefore": "2100-01-01T00:00:00Z", "minReady": "1m"}},
        Reason.BUDGET_EXHAUSTED: {
            "disruption": {"budgets": [{"nodes": 0, "schedule": "*/7 * * * *", "duration": "1h"}]}
        },
    }

    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2, **more[held])
        await world.settled()
        await world.apply(nodes=2, image=VERSION_2, **more[held])
        await asyncio.sleep(300)
        version = await world.version()
        deletes = world.cloud.calls["delete"]

        await asyncio.sleep(3600)

        assert await world.version() == version
        assert world.cloud.calls["delete"] == deletes
        assert len({node.spec.template_hash for node in await world.nodes()}) == 1

    run_world(story)
