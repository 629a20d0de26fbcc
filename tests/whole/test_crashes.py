"""`kill -9` at every touch of the world, before and after it: the next operator ends where this one would have."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from skyward.api import Node, Pool
from tests.fakes.seams import Seams, When
from tests.whole.world import World, run_world

Story = Callable[[World], Awaitable[None]]
TOKEN = {"driver": {"has_token": True}}
LISTED = {"driver": {"has_token": False, "visibility_s": 8.0}, "cloud": {"visibility_s": 5.0}}
CLOUDS = {"token": TOKEN, "listed": LISTED}


async def provision(world: World) -> None:
    await world.apply(nodes=3)
    await world.settled()


async def scale_and_roll(world: World) -> None:
    await provision(world)
    await world.apply(nodes=4, image={"env": {"A": "1"}}, max_surge=1)
    await world.settled()
    await world.apply(nodes=2, image={"env": {"A": "1"}}, max_surge=1)
    await world.settled()


async def lose_and_delete(world: World) -> None:
    await provision(world)
    world.cloud.vanish((await world.nodes())[0].status.provider_id)
    await world.until(lambda: world.lacks_instances_that_are_gone())
    await world.settled()
    await world.delete(Node, (await world.nodes())[-1].key)
    await asyncio.sleep(1)
    await world.delete(Pool, "default/hello")
    await world.until(world.is_gone)


STORIES: dict[str, Story] = {"provision": provision, "roll": scale_and_roll, "delete": lose_and_delete}


async def count_calls(world: World, story: Story) -> int:
    await world.start()
    await story(world)
    return world.seams.calls


async def tell_with_a_crash(world: World, story: Story, crash_at: int, when: When) -> None:
    """The user goes on as if nothing had happened while the operator dies at this call and is started again."""

    async def revive() -> None:
        await world.seams.crashed.wait()
        await world.kill()
        await asyncio.sleep(1)
        await world.start()

    await world.start(Seams(world.seed, crash_at=crash_at, when=when))
    reviving = asyncio.create_task(revive())
    try:
        await story(world)
    finally:
        reviving.cancel()
        await asyncio.gather(reviving, return_exceptions=True)
    if world.seams.crashed.is_set():  # the story was told before the next operator could begin
        if world.operator is not None:
            await world.kill()
        await world.start()


async def nothing_is_left(world: World) -> None:
    """Whatever the story, deletion ends at zero rows and zero machines."""
    for pool in await world.pools():
        await world.delete(Pool, pool.key)
    await world.until(world.is_gone)


def crash(story: Story, kind: str, crash_at: int, when: When, seed: int = 0) -> None:
    async def main(world: World) -> None:
        await tell_with_a_crash(world, story, crash_at, when)
        if story is provision:
            assert len(world.cloud.created) == 1 or kind == "listed"
            assert world.most_machines() == 3
        await nothing_is_left(world)

    run_world(main, seed, **CLOUDS[kind])


@pytest.mark.slow
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("kind", list(CLOUDS))
def test_a_crash_at_any_call_while_provisioning_makes_no_second_machine(kind: str, when: When) -> None:
    counted: list[int] = []

    async def count(world: World) -> None:
        counted.append(await count_calls(world, provision))

    run_world(count, **CLOUDS[kind])

    for crash_at in range(1, counted[0] + 1):
        crash(provision, kind, crash_at, when)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(CLOUDS))
@pytest.mark.parametrize("name", ["roll", "delete"])
def test_a_crash_at_any_call_of_a_longer_story_leaves_nothing_behind(name: str, kind: str) -> None:
    counted: list[int] = []

    async def count(world: World) -> None:
        counted.append(await count_calls(world, STORIES[name]))

    run_world(count, **CLOUDS[kind])

    for crash_at in range(1, counted[0] + 1, 3):
        crash(STORIES[name], kind, crash_at, When(random.Random(crash_at).choice(list(When))))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", list(CLOUDS))
def test_many_crashes_at_random_times_end_as_none(kind: str, seed: int) -> None:
    async def main(world: World) -> None:
        rng = random.Random(seed)
        await world.start()
        await world.apply(nodes=3)
        for _ in range(12):
            await asyncio.sleep(rng.expovariate(1 / 6))
            await world.restart()
        await world.settled()
        assert world.most_machines() == 3
        await nothing_is_left(world)

    run_world(main, seed, **CLOUDS[kind])
