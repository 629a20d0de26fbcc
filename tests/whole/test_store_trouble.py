"""A store that cannot write for a while: nobody is called meanwhile, nobody ends, and all goes on by itself."""

from __future__ import annotations

import asyncio

import pytest

from skyward.api import Pool
from tests.whole.world import World, run_world


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_made_or_deleted_while_the_disk_is_full(seed: int) -> None:
    async def story(world: World) -> None:
        await world.start()
        await world.apply(nodes=2)
        await world.apply("going", nodes=1)
        await world.settled()
        await world.settled("going")
        await world.apply(nodes=4)
        await world.delete(Pool, "default/going")
        world.seams.disk_is_full = True
        calls = dict(world.cloud.calls)
        await asyncio.sleep(300)
        assert {kind: world.cloud.calls[kind] for kind in ("create", "delete")} == {
            "create": calls["create"],
            "delete": calls.get("delete", 0),
        }
        assert world.cloud.calls["list"] > calls["list"]
        world.seams.disk_is_full = False
        await world.settled(within_s=900)
        await world.until(lambda: world.lacks_pool("going"))

        assert len(world.ours()) == 4
        assert world.leadership.epoch == 1

    run_world(story, seed)
