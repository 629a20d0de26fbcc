"""What is ours and belongs to nothing goes; what is not ours is never touched."""

from __future__ import annotations

import asyncio

from skyward.api import Pool
from skyward.errors import ProviderUnavailable
from tests.whole.world import World, run_world


def test_a_foreign_instance_is_never_touched() -> None:
    async def story(world: World) -> None:
        world.cloud.add_foreign("theirs")
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone)
        await asyncio.sleep(600)

        assert "theirs" in world.cloud.alive

    run_world(story)


def test_an_orphan_is_deleted_after_a_second_complete_listing() -> None:
    async def story(world: World) -> None:
        world.cloud.add_orphan("orphan", world.store.installation)
        await world.start()
        await world.until(lambda: _listed(world, 1))
        assert world.cloud.calls["delete"] == 0
        await asyncio.sleep(60)

        assert not world.ours()

    run_world(story)


def test_an_orphan_is_left_alone_for_as_long_as_it_could_be_news() -> None:
    async def story(world: World) -> None:
        world.cloud.add_orphan("orphan", world.store.installation)
        await world.start()
        await asyncio.sleep(115)
        assert world.ours() == ["orphan"]
        await asyncio.sleep(40)
        assert not world.ours()

    run_world(story, driver={"visibility_s": 120.0})


def test_an_orphan_is_not_judged_while_the_listing_fails() -> None:
    async def story(world: World) -> None:
        world.cloud.add_orphan("orphan", world.store.installation)
        await world.start()
        await world.until(lambda: _listed(world, 1))
        world.cloud.faults.listing_is_down = True
        await asyncio.sleep(600)
        assert world.ours() == ["orphan"]
        world.cloud.faults.listing_is_down = False
        await asyncio.sleep(400)
        assert not world.ours()

    run_world(story)


def test_an_orphan_that_cannot_be_deleted_hinders_no_other() -> None:
    async def story(world: World) -> None:
        world.cloud.add_orphan("a", world.store.installation, "stuck")
        world.cloud.add_orphan("b", world.store.installation)
        world.cloud.faults.hangs = lambda pool_uid: pool_uid == "stuck"
        await world.start()
        await asyncio.sleep(180)

        assert world.ours() == ["a"]
        world.cloud.faults.hangs = lambda pool_uid: False
        await world.until(world.has_no_machines, 120)

    run_world(story)


def test_failing_deletes_are_repeated_until_it_is_gone() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.cloud.faults.delete_errors = [ProviderUnavailable("503") for _ in range(12)]
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone)

    run_world(story)


def test_an_instance_that_cannot_be_deleted_while_it_starts_is_waited_for() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await asyncio.sleep(3)
        await world.delete(Pool, "default/hello")
        await asyncio.sleep(10)
        assert len(world.ours()) == 2
        await world.until(world.is_gone)

    run_world(story, cloud={"undeletable_while_starting": True})


def test_a_pool_goes_only_after_everything_its_launches_made() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.cloud.add_surplus((await world.nodes())[0].status.provider_id, "surplus")
        await world.delete(Pool, "default/hello")
        await world.until(lambda: world.lacks_pool("hello"))

        assert not world.ours()
        assert any("surplus" in event.note for event in await world.events())

    run_world(story, driver={"visibility_s": 60.0})


def test_a_surplus_instance_of_a_living_pool_is_deleted() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        world.cloud.add_surplus((await world.nodes())[0].status.provider_id, "surplus")
        await asyncio.sleep(60)

        assert "surplus" not in world.cloud.alive
        await world.settled()

    run_world(story)


def test_launches_that_nothing_needs_are_forgotten() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        for number in range(3):
            await world.apply(nodes=2, image={"env": {"A": str(number)}}, max_unavailable=2)
            await world.settled()
        await asyncio.sleep(60)

        assert {launch.id for launch in await world.launches()} == {node.status.launch for node in await world.nodes()}

    run_world(story)


async def _listed(world: World, times: int) -> bool:
    return world.cloud.calls["list"] >= times
