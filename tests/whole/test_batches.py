"""One create call for many nodes: what it answers may be less, more, twice the same or in any order."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from skyward.api import NodeCondition
from skyward.errors import CredentialsRejected, InsufficientCapacity, OutcomeUnknown, ProviderUnavailable, RateLimited
from skyward.facts import Instance, LaunchState
from tests.whole.world import World, condition, run_world

Answer = tuple[Instance, ...]


async def each_node_has_its_own_machine(world: World, nodes: int) -> None:
    bound = [node.status.provider_id for node in await world.nodes() if not node.status.failure]
    assert sorted(bound) == sorted(world.ours())
    assert len(set(bound)) == nodes


def shuffled(instances: Answer) -> Answer:
    mixed = list(instances)
    random.Random(1).shuffle(mixed)
    return tuple(mixed)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda made: tuple(reversed(made)), id="reversed"),
        pytest.param(shuffled, id="in any order"),
        pytest.param(lambda made: (*made, *made), id="each twice"),
        pytest.param(lambda made: (made[0], made[0], *made[1:]), id="one twice"),
        pytest.param(lambda made: made[: len(made) // 2], id="only half of them"),
        pytest.param(lambda made: (), id="none of them"),
    ],
)
def test_every_node_gets_one_machine_whatever_the_answer_looks_like(answer: Any) -> None:
    async def story(world: World) -> None:
        world.cloud.faults.answers = answer
        await world.start()
        await world.apply(nodes=6)
        await asyncio.sleep(20)
        world.cloud.faults.answers = lambda made: made
        await world.settled()

        await each_node_has_its_own_machine(world, 6)

    run_world(story)


def test_machines_beyond_what_was_asked_for_are_deleted() -> None:
    async def story(world: World) -> None:
        def one_more(made: Answer) -> Answer:
            world.cloud.add_surplus(made[0].id, "i-surplus")
            return (*made, world.cloud.get("i-surplus"))

        world.cloud.faults.answers = one_more
        await world.start()
        await world.apply(nodes=3)
        await world.settled()

        await each_node_has_its_own_machine(world, 3)
        await world.until(lambda: _lacks(world, "i-surplus"), within_s=180)

    run_world(story)


async def _lacks(world: World, instance: str) -> bool:
    return instance not in world.cloud.alive


@pytest.mark.parametrize("max_count", [1, 3, 100])
def test_a_batch_that_is_made_in_part_is_bound_in_part_and_completed_later(max_count: int) -> None:
    async def story(world: World) -> None:
        world.cloud.faults.capacity = 4
        await world.start()
        await world.apply(nodes=7)
        await world.until(lambda: _bound(world, 4))
        assert await world.pool_is("hello", "CapacityAvailable", "False/InsufficientCapacity")
        await asyncio.sleep(300)
        assert world.most_machines() == 4

        world.cloud.faults.capacity = None
        await world.settled()
        await each_node_has_its_own_machine(world, 7)
        assert world.most_machines() == 7

    run_world(story, driver={"max_count": max_count})


async def _bound(world: World, count: int) -> bool:
    return sum(bool(node.status.provider_id) for node in await world.nodes()) == count


def test_machines_are_deleted_one_by_one_and_none_waits_for_another() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=4)
        await world.settled()
        world.cloud.faults.delete_errors = [ProviderUnavailable("503")] * 3
        await world.apply(nodes=0)
        await world.settled()

        assert not world.ours()

    run_world(story)


# --- replays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal", [RateLimited("slow down", 5.0), CredentialsRejected("key expired")], ids=["rate", "credentials"]
)
def test_a_replay_that_is_refused_unread_says_nothing_about_the_call_before(refusal: Any) -> None:
    """The first call did its work: giving its identity up would buy everything twice."""

    async def story(world: World) -> None:
        world.cloud.faults.lost_replies = 1
        await world.start()
        await world.apply(nodes=3)
        await asyncio.sleep(0.7)
        world.cloud.faults.before_create = [refusal]
        await world.settled()

        assert len(world.cloud.created) == 1
        assert world.most_machines() == 3

    run_world(story)


def test_a_token_whose_replays_are_never_answered_is_resolved_by_listings() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [OutcomeUnknown("no answer", "token")] * 8
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(20)
        assert condition((await world.nodes())[0], NodeCondition.LAUNCHED) == "Unknown/OutcomeUnknown"
        await world.until(lambda: _absent(world), within_s=900)
        await world.settled(within_s=900)

        await each_node_has_its_own_machine(world, 2)

    run_world(story, driver={"visibility_s": 30.0}, cloud={"visibility_s": 20.0})


async def _absent(world: World) -> bool:
    return any(launch.state is LaunchState.ABSENT for launch in await world.launches())


def test_a_refusal_of_the_first_call_is_a_refusal() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [InsufficientCapacity("sold out", "local/small/on-demand")]
        await world.start()
        await world.apply(nodes=1)
        await world.settled()

        states = {launch.state for launch in await world.launches()}
        assert LaunchState.BOUND in states
        assert LaunchState.UNKNOWN not in states

    run_world(story)
