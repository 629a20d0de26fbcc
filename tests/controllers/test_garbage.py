"""What is ours and belongs to nothing goes; what is not ours is never touched."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from skyward.api import Pool
from skyward.controllers.garbage.tombstones import KEPT, Burial, plan_burial
from skyward.errors import ProviderUnavailable
from skyward.facts import Launch
from tests.builders import NOW, make_launch, make_node, make_pool
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
        await _begin_with_history(world)
        listed = world.cloud.calls["list"]
        world.cloud.add_orphan("orphan", world.store.installation)
        await world.until(lambda: _listed(world, listed + 1))
        assert world.cloud.calls["delete"] == 0
        await asyncio.sleep(60)

        assert "orphan" not in world.ours()

    run_world(story)


def test_an_orphan_is_left_alone_for_as_long_as_it_could_be_news() -> None:
    async def story(world: World) -> None:
        await _begin_with_history(world)
        world.cloud.add_orphan("orphan", world.store.installation)
        await asyncio.sleep(115)
        assert "orphan" in world.ours()
        await asyncio.sleep(40)
        assert "orphan" not in world.ours()

    run_world(story, driver={"visibility_s": 120.0})


def test_an_orphan_is_not_judged_while_the_listing_fails() -> None:
    async def story(world: World) -> None:
        await _begin_with_history(world)
        listed = world.cloud.calls["list"]
        world.cloud.add_orphan("orphan", world.store.installation)
        await world.until(lambda: _listed(world, listed + 1))
        world.cloud.faults.listing_is_down = True
        await asyncio.sleep(600)
        assert "orphan" in world.ours()
        world.cloud.faults.listing_is_down = False
        await asyncio.sleep(400)
        assert "orphan" not in world.ours()

    run_world(story)


def test_an_orphan_that_cannot_be_deleted_hinders_no_other() -> None:
    async def story(world: World) -> None:
        await _begin_with_history(world)
        world.cloud.add_orphan("a", world.store.installation, "stuck")
        world.cloud.add_orphan("b", world.store.installation)
        world.cloud.faults.hangs = lambda pool_uid: pool_uid == "stuck"
        await asyncio.sleep(180)

        assert {"a", "b"} & set(world.ours()) == {"a"}
        world.cloud.faults.hangs = lambda pool_uid: False
        await asyncio.sleep(120)
        assert "a" not in world.ours()

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


def test_launches_that_nothing_needs_become_tombstones() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.settled()
        for number in range(3):
            await world.apply(nodes=2, image={"env": {"A": str(number)}}, max_unavailable=2)
            await world.settled()
        await asyncio.sleep(60)

        needed = {node.status.launch for node in await world.nodes()}
        assert {launch.id for launch in await world.launches() if not launch.gone_at} == needed
        assert len(await world.launches()) > len(needed)

    run_world(story)


def test_a_tombstone_is_kept_a_week_and_its_week_begins_anew_when_it_shows_again() -> None:
    pool = make_pool()
    old = replace(make_launch([make_node(pool)], "old"), gone_at=NOW)
    week_s = 7 * 86_400.0

    def plan(launch: Launch, age_now: float, shown: frozenset[str] = frozenset()) -> Burial:
        return plan_burial([launch], over=frozenset(), shown=shown, age_now=age_now)

    assert not plan(old, NOW + week_s - 1)
    assert plan(old, NOW + week_s).drop == ("old",)
    assert plan(old, NOW + week_s, frozenset({"old"})).raise_ == (old,)
    assert not plan(replace(old, gone_at=0.0), NOW + week_s)


def test_only_so_many_tombstones_are_kept_and_the_oldest_go_first() -> None:
    launch = make_launch([make_node(make_pool())])
    graves = [replace(launch, id=str(number), gone_at=NOW + number) for number in range(KEPT + 2)]

    burial = plan_burial(graves, over=frozenset(), shown=frozenset(), age_now=NOW)

    assert burial.drop == ("0", "1")


def test_what_appears_late_of_a_pool_that_is_gone_is_known_as_ours_and_deleted() -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=1)
        await world.settled()
        machine = next(iter(world.cloud.alive.values()))
        await world.delete(Pool, "default/hello")
        await world.until(world.is_gone)
        await asyncio.sleep(60)
        world.cloud.add_orphan("late", machine.owner, machine.pool_uid)
        world.cloud.alive["late"].launch = machine.launch
        world.cloud.alive["late"].epoch = machine.epoch
        await asyncio.sleep(300)

        assert not world.ours()
        (tombstone,) = await world.launches()
        assert tombstone.id == machine.launch
        assert tombstone.gone_at > world.clock.now() - 300

    run_world(story)


async def _begin_with_history(world: World) -> None:
    """An operator whose records know what it made: an unknown instance is a leak, and no sign of lost records."""
    await world.start()
    await world.apply(nodes=1)
    await world.settled()


async def _listed(world: World, times: int) -> bool:
    return world.cloud.calls["list"] >= times
