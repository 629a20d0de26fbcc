"""Decisions through the life of an operator: they are written when something is decided, and never read to decide."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import Node, Pool, PoolCondition, Reason
from skyward.contracts import Transaction
from skyward.errors import InsufficientCapacity
from skyward.facts import Decision, DecisionKind, DecisionRecord, InstanceState
from tests.whole.world import World, run_world


async def records(world: World, *, standing: bool = False) -> tuple[DecisionRecord, ...]:
    """Of all objects that there are, or of what stands whatever it is about."""
    if standing:
        return await world.store.read(lambda tx: tx.standing_decisions())
    objects = (*await world.pools(), *await world.nodes())
    return await world.store.read(
        lambda tx: tuple(record for one in objects for record in tx.decisions(one.metadata.uid))
    )


def rules(found: tuple[DecisionRecord, ...]) -> list[str]:
    return sorted(record.decision.rule for record in found)


@pytest.mark.slow
@pytest.mark.parametrize("hours", [1, 24])
def test_pools_that_stand_still_decide_nothing_anew(hours: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        await world.apply("other", nodes=1)
        await world.settled("other")
        await world.apply("other", nodes=3, paused=True)
        await asyncio.sleep(3700)
        before, commits = await records(world), world.commits
        assert "paused" in rules(before)
        await asyncio.sleep(hours * 3600)

        assert await records(world) == before
        assert world.commits - commits <= hours * 61  # the heartbeats' one batch a minute, and nothing besides

    run_world(story)


def test_what_stood_before_a_restart_stands_on_in_the_same_records() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3, paused=True)
        await asyncio.sleep(30)
        before = await records(world, standing=True)
        for _ in range(3):
            await world.restart()
            await asyncio.sleep(30)

        assert rules(before) == ["paused"]
        assert await records(world, standing=True) == before

    run_world(story)


def test_what_no_plan_says_any_more_ends() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        pool, node = await world.pool(), (await world.nodes())[0]
        invented = Decision(DecisionKind.HOLD, "paused", Reason.PAUSED, "invented")

        def invent(tx: Transaction) -> None:
            for obj in (pool, node):
                tx.put_decision(DecisionRecord(obj.kind, obj.metadata.uid, obj.key, invented, 1.0))

        await world.kill()
        await world.write(invent)
        await world.start()
        await asyncio.sleep(60)

        assert await records(world, standing=True) == ()

    run_world(story)


def test_nothing_stands_when_all_is_as_desired_and_nothing_is_left_of_what_went() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=3)
        await world.settled()
        world.cloud.lose((await world.nodes())[0].status.provider_id, InstanceState.PREEMPTED)
        await asyncio.sleep(5)
        await world.settled()
        assert await records(world, standing=True) == ()

        await world.delete(Pool, "default/hello")
        await world.until(lambda: world.lacks_pool("hello"))
        await asyncio.sleep(5)
        assert await records(world, standing=True) == ()

    run_world(story)


@pytest.mark.slow
def test_a_retry_without_end_fills_no_records_without_end() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.capacity = 0
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(1800)

        found = await records(world)
        most = max(found, key=lambda record: record.count)
        assert most.count > 5
        assert len(found) < 40, rules(found)

    run_world(story)


def test_every_node_knows_what_it_was_made_for_and_which_offering_was_chosen() -> None:
    async def story(world: World) -> None:
        refused = InsufficientCapacity("no capacity left", "local/small/on-demand")
        world.cloud.faults.before_create.append(refused)
        await world.start()
        await world.apply(nodes=3)
        await world.settled()

        for node in await world.nodes():
            told = await world.store.read(lambda tx, uid=node.metadata.uid: tx.decisions(uid))
            made = next(record.decision for record in told if record.decision.target == str(node.spec.slot))
            assert (made.kind, made.rule) == (DecisionKind.CREATE, "replicas")
            chosen = [dict(record.decision.inputs) for record in told if record.decision.rule == "cheapest-offering"]
            assert [inputs["offering"] for inputs in chosen] == ["local/small/on-demand", "local/large/on-demand"]
            assert chosen[1]["local/small/on-demand"] == "refused lately: no capacity left"

    run_world(story)


@pytest.mark.slow
@pytest.mark.parametrize("tampered", ["wiped", "invented"])
def test_decisions_are_never_what_a_plan_is_made_of(tampered: str) -> None:
    """Whatever is on record, the operator does the same."""
    done: list[list[tuple[int, str]]] = []

    async def tamper(world: World) -> None:
        def work(tx: Transaction) -> None:
            if tampered == "wiped":
                tx.drop_decisions(float("inf"), 0)
                return
            for kind, rule in ((DecisionKind.HOLD, "paused"), (DecisionKind.WAIT, "outcome-unknown")):
                for obj in (*tx.list(Pool), *tx.list(Node)):
                    decision = Decision(kind, rule, Reason.PAUSED, "invented")
                    tx.put_decision(DecisionRecord(obj.kind, obj.metadata.uid, obj.key, decision, 1.0))

        await world.write(work)

    def tell(interfere: bool) -> None:
        async def story(world: World) -> None:
            await world.start()
            await world.apply(nodes=2)
            await world.settled()
            if interfere:
                await tamper(world)
                await world.restart()
            else:
                await world.restart()
            world.cloud.vanish((await world.nodes())[0].status.provider_id)
            await asyncio.sleep(30)
            await world.settled()
            await world.apply(nodes=3, image={"env": {"A": "1"}})
            await world.settled()
            assert await world.pool_is("hello", PoolCondition.READY, "True/AsDesired")
            done.append([(request.count, request.offering.id) for request in world.cloud.created])

        run_world(story)

    tell(interfere=False)
    tell(interfere=True)

    assert done[0] == done[1]
