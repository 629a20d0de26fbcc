"""Nodes that come, go and are replaced because somebody wants it so."""

from __future__ import annotations

import asyncio

from skyward.api import to_time
from skyward.api.meta import REPLACE
from tests.sweep.stage import Stage
from tests.sweep.story import Book

ROLLING = Book()


async def begin(stage: Stage, nodes: int, rollout: str = "{}") -> None:
    stage.apply(nodes, rollout=rollout)
    await stage.settled()


async def rolled(stage: Stage, nodes: int, version: int) -> None:
    await stage.until(lambda: len(stage.ready(version)) == nodes == len(stage.ready()) == len(stage.ours()))
    await stage.settled()


async def _roll(stage: Stage, nodes: int, rollout: str) -> None:
    await begin(stage, nodes, rollout)
    stage.change(version=2)
    await rolled(stage, nodes, version=2)


@ROLLING.story()
async def a_pool_grows(stage: Stage) -> None:
    await begin(stage, 1)
    stage.change(nodes=3)
    await stage.settled()


@ROLLING.story()
async def a_pool_shrinks(stage: Stage) -> None:
    await begin(stage, 3)
    stage.change(nodes=1)
    await stage.settled()


@ROLLING.story(profile="token")
async def a_pool_goes_to_nothing_and_comes_back(stage: Stage) -> None:
    await begin(stage, 2)
    stage.change(nodes=0)
    await asyncio.sleep(15)
    stage.change(nodes=2)
    await stage.settled()


@ROLLING.story()
async def one_node_at_a_time_is_replaced(stage: Stage) -> None:
    await _roll(stage, 2, "{maxUnavailable: 1}")


@ROLLING.story()
async def a_new_node_serves_before_an_old_one_leaves(stage: Stage) -> None:
    await _roll(stage, 2, "{maxSurge: 1, maxUnavailable: 0}")


@ROLLING.story()
async def a_canary_goes_first(stage: Stage) -> None:
    await _roll(stage, 3, "{maxUnavailable: 3, canary: 1, minReady: 5s}")


@ROLLING.story()
async def all_are_replaced_at_once(stage: Stage) -> None:
    await _roll(stage, 2, "{strategy: Recreate}")


@ROLLING.story()
async def only_the_node_that_a_user_marks_is_replaced(stage: Stage) -> None:
    await begin(stage, 2, "{strategy: OnDelete}")
    stage.change(version=2)
    await asyncio.sleep(10)
    await stage.annotate(stage.nodes()[0], REPLACE, "true")
    await stage.until(lambda: len(stage.ready(2)) == 1 and len(stage.ready(1)) == 1 and len(stage.ours()) == 2)


@ROLLING.story()
async def a_user_deletes_a_node(stage: Stage) -> None:
    await begin(stage, 2)
    node = stage.nodes()[0]
    await stage.delete(node)
    await stage.until(lambda: node.metadata.uid not in {one.metadata.uid for one in stage.nodes()})
    await stage.settled()


@ROLLING.story()
async def a_restart_makes_every_node_anew(stage: Stage) -> None:
    await begin(stage, 2)
    old = {node.metadata.uid for node in stage.nodes()}
    await asyncio.sleep(2)
    stage.change(annotations=(("restarted-at", to_time(stage.now).isoformat()),))
    await stage.until(lambda: not old & {node.metadata.uid for node in stage.nodes()} and len(stage.ready()) == 2)
    await stage.settled()


@ROLLING.story()
async def a_rollout_is_paused_and_goes_on(stage: Stage) -> None:
    await begin(stage, 2)
    stage.change(version=2)
    await asyncio.sleep(4)
    stage.change(more=("paused: true",))
    await asyncio.sleep(20)
    stage.change(more=())
    await rolled(stage, 2, version=2)


@ROLLING.story()
async def a_rollout_is_taken_back(stage: Stage) -> None:
    await begin(stage, 2)
    stage.change(version=2)
    await asyncio.sleep(6)
    stage.change(version=1)
    await rolled(stage, 2, version=1)


@ROLLING.story()
async def a_paused_pool_stays_as_it_is(stage: Stage) -> None:
    await begin(stage, 1)
    stage.change(nodes=3, more=("paused: true",))
    await asyncio.sleep(20)


@ROLLING.story()
async def a_template_that_cannot_work_stops_itself_until_it_is_mended(stage: Stage) -> None:
    stage.broken_versions.add("2")
    await begin(stage, 1)
    stage.change(version=2)
    await stage.stalled("TemplateFailing")
    stage.change(version=3)
    await rolled(stage, 1, version=3)


@ROLLING.story()
async def the_first_template_cannot_work(stage: Stage) -> None:
    stage.broken_versions.add("1")
    stage.apply(1)
    await stage.stalled("TemplateFailing")
    stage.change(version=2)
    await rolled(stage, 1, version=2)
