"""What create calls may answer, and what follows from each answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skyward.api import NodeCondition, Pool, PoolCondition, Reason
from skyward.errors import (
    BalanceExhausted,
    CreatedButFailed,
    CredentialsRejected,
    InsufficientCapacity,
    OutcomeUnknown,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from skyward.facts import LaunchState
from tests.whole.world import World, condition, run_world

TOKEN: dict[str, Any] = {"driver": {"has_token": True}}
LISTED: dict[str, Any] = {
    "driver": {"has_token": False, "visibility_s": 30.0},
    "cloud": {"visibility_s": 20.0},
}
both = pytest.mark.parametrize("kind", [TOKEN, LISTED], ids=["token", "listed"])


@both
def test_a_lost_reply_makes_no_second_instance(kind: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        world.cloud.faults.lost_replies = 1
        await world.start()
        await world.apply(nodes=3)
        await world.settled()

        assert len(world.cloud.created) == 1
        assert world.most_machines() == 3

    run_world(story, **kind)


@both
def test_a_lost_request_is_made_good(kind: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        world.cloud.faults.lost_requests = 1
        await world.start()
        await world.apply(nodes=3)
        await world.settled()

        assert len({request.launch for request in world.cloud.created}) == len(world.cloud.created)
        assert world.most_machines() == 3

    run_world(story, **kind)


def test_while_the_outcome_is_unknown_no_other_identity_is_used() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.lost_requests = 1
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(59)
        assert len(await world.launches()) == 1
        assert world.cloud.calls["create"] == 1
        assert condition((await world.nodes())[0], NodeCondition.LAUNCHED) == "Unknown/OutcomeUnknown"
        await world.settled()
        assert world.most_machines() == 2

    run_world(story, **LISTED)


def test_a_replay_is_the_identical_call() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [OutcomeUnknown("lost", "token"), ProviderUnavailable("503")]
        await world.start()
        await world.apply(nodes=2)
        await world.until(lambda: _bound(world))

        [launch] = await world.launches()
        assert launch.attempts == 3
        assert world.cloud.created == [launch.request]

    run_world(story, **TOKEN)


def test_a_refused_replay_proves_nothing_while_the_first_call_may_still_arrive() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.lost_requests = 1
        world.cloud.faults.capacity = 0
        await world.start()
        await world.apply(nodes=1)
        await asyncio.sleep(60)
        assert world.cloud.calls["create"] == 2
        (launch,) = await world.launches()
        assert launch.state in (LaunchState.SENT, LaunchState.UNKNOWN)

        await asyncio.sleep(90)

        assert LaunchState.REJECTED in {each.state for each in await world.launches()}
        world.cloud.faults.capacity = None
        await world.settled()

    run_world(story, **TOKEN)


async def _bound(world: World) -> bool:
    return any(launch.state is LaunchState.BOUND for launch in await world.launches())


@both
def test_a_refused_offering_is_left_alone_and_the_next_is_tried(kind: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [InsufficientCapacity("sold out", "local/small/on-demand")]
        await world.start()
        await world.apply(nodes=2)
        await world.settled()

        assert [request.offering.name for request in world.cloud.created] == ["large", "large"], "one, then the rest"

    run_world(story, **kind)


def test_when_all_are_refused_it_waits_and_tries_again() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [
            InsufficientCapacity("sold out", "local/small/on-demand"),
            CredentialsRejected("key expired"),
        ]
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(30)
        assert world.cloud.calls["create"] == 2
        node = (await world.nodes())[0]
        assert condition(node, NodeCondition.LAUNCHED) == "False/CredentialsRejected"
        reasons = {event.reason for event in await world.events()}
        assert {Reason.INSUFFICIENT_CAPACITY, Reason.CREDENTIALS_REJECTED} <= reasons
        await world.settled()

    run_world(story)


@pytest.mark.parametrize(
    ("refusal", "reason", "calls"),
    [
        (QuotaExceeded("limit of 4 machines"), "QuotaExceeded", 2),
        (BalanceExhausted("no money left"), "BalanceExhausted", 1),
        (CredentialsRejected("key expired"), "CredentialsRejected", 1),
        (RequestRejected("no such image"), "RequestRejected", 2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pool_says_what_a_human_must_do_about_a_refusal(refusal: ProviderError, reason: str, calls: int) -> None:
    """What is refused to the account is not asked of its next offering."""

    async def story(world: World) -> None:
        world.cloud.faults.before_create = [refusal, refusal]
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(20)

        pool = await world.pool()
        assert world.cloud.calls["create"] == calls
        assert condition(pool, PoolCondition.CAPACITY_AVAILABLE) == f"False/{reason}"
        assert condition(pool, PoolCondition.STALLED) == f"True/{reason}"
        assert condition(pool, PoolCondition.READY) == f"False/{reason}"
        world.cloud.faults.before_create = []
        await world.settled()
        assert condition(await world.pool(), PoolCondition.STALLED) == "absent"

    run_world(story)


def test_a_pool_that_is_sold_out_waits_for_no_human() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [
            InsufficientCapacity("sold out", "local/small/on-demand"),
            QuotaExceeded("limit of 4 machines"),
        ]
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(20)

        assert condition(await world.pool(), PoolCondition.CAPACITY_AVAILABLE) == "False/InsufficientCapacity"
        assert condition(await world.pool(), PoolCondition.STALLED) == "absent"

    run_world(story)


def test_a_node_that_waits_for_capacity_waits_as_the_same_node() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.capacity = 0
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(1)
        before = {node.metadata.uid for node in await world.nodes()}
        await asyncio.sleep(1200)
        assert {node.metadata.uid for node in await world.nodes()} == before
        assert not any(node.status.failure for node in await world.nodes())
        assert world.cloud.calls["create"] <= 2 * 1200 / 60 + 2
        world.cloud.faults.capacity = None
        await world.settled()
        assert {node.metadata.uid for node in await world.nodes()} == before

    run_world(story)


def test_a_rate_limit_is_respected() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.before_create = [RateLimited("slow down", 90.0), RateLimited("slow down", 90.0)]
        await world.start()
        await world.apply(nodes=1)
        await asyncio.sleep(85)
        assert world.cloud.calls["create"] == 1, "the account is limited, not the offering"
        assert condition(await world.pool(), PoolCondition.CAPACITY_AVAILABLE) == "Unknown/BackingOff"
        await asyncio.sleep(90)
        assert world.cloud.calls["create"] == 2
        await world.settled()

    run_world(story)


def test_a_partial_answer_is_completed_by_a_new_launch() -> None:
    async def story(world: World) -> None:
        world.cloud.faults.capacity = 2
        await world.start()
        await world.apply(nodes=5)
        await asyncio.sleep(60)
        assert len(world.ours()) == 2
        assert (await world.pool()).status.ready == 2
        world.cloud.faults.capacity = None
        await world.settled()
        assert world.most_machines() == 5

    run_world(story)


def test_a_created_but_failed_instance_is_deleted_and_replaced() -> None:
    async def story(world: World) -> None:
        await world.start()
        failing = world.cloud.create

        def create(*args: Any, **kwargs: Any) -> Any:
            made = failing(*args, **kwargs)
            world.cloud.create = failing  # type: ignore[method-assign]
            raise CreatedButFailed("it has no disk", made[0].id)

        world.cloud.create = create  # type: ignore[method-assign]
        await world.apply(nodes=1)
        await world.settled()

        assert "i-00001" not in world.cloud.alive
        assert any("it has no disk" in event.note for event in await world.events())

    run_world(story)


def test_a_batch_is_no_larger_than_the_provider_takes() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=7)
        await world.settled()

        assert sorted(request.count for request in world.cloud.created) == [1, 3, 3]

    run_world(story, driver={"max_count": 3})


@both
@pytest.mark.parametrize("lost", [0, 1], ids=["answered", "lost"])
@pytest.mark.parametrize("delay_s", [0.05, 0.2, 0.3, 0.4, 0.6, 2.0, 21.0])
def test_a_pool_deleted_while_its_create_call_is_out_leaves_nothing(
    kind: dict[str, Any], lost: int, delay_s: float
) -> None:
    async def story(world: World) -> None:
        world.cloud.faults.lost_replies = lost
        await world.start()
        await world.apply(nodes=3)
        await asyncio.sleep(delay_s)
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone)

    run_world(story, **kind)


def test_an_answer_that_comes_after_the_timeout_is_found() -> None:
    async def story(world: World) -> None:
        world.cloud.latency_s = 400.0
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(130)
        world.cloud.latency_s = 0.5
        await world.settled()
        await asyncio.sleep(600)

        assert len(world.ours()) == 2

    run_world(story, **TOKEN)


def test_an_unexpected_error_leaves_the_intent_and_is_resolved() -> None:
    async def story(world: World) -> None:
        original = world.cloud.create

        def broken(*args: Any, **kwargs: Any) -> Any:
            original(*args, **kwargs)
            world.cloud.create = original  # type: ignore[method-assign]
            raise ValueError("a bug in the driver")

        world.cloud.create = broken  # type: ignore[method-assign]
        await world.start()
        await world.apply(nodes=2)
        await world.settled()

        assert world.most_machines() == 2
        assert len(world.cloud.created) == 1

    run_world(story, **TOKEN)
