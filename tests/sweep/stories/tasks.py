"""Work that is submitted, run, lost, cancelled and given up."""

from __future__ import annotations

import asyncio

from skyward.facts import InstanceState
from tests.sweep.stage import Stage
from tests.sweep.story import Book

TASKS = Book()


async def _begin(stage: Stage, nodes: int, work_s: float) -> None:
    stage.work_s = work_s
    stage.apply(nodes)
    await stage.settled()


def _items(count: int, kind: bytes = b"good") -> list[bytes]:
    return [b"%s %d" % (kind, number) for number in range(count)]


@TASKS.story()
async def a_map_is_run(stage: Stage) -> None:
    await _begin(stage, 2, work_s=0.5)
    await stage.submit("map", _items(6))
    await stage.done("map")


@TASKS.story()
async def a_node_is_lost_in_the_middle_of_a_map(stage: Stage) -> None:
    await _begin(stage, 2, work_s=4.0)
    await stage.submit("map", _items(4))
    await asyncio.sleep(2)
    stage.cloud.lose(stage.machine(), InstanceState.PREEMPTED)
    await stage.done("map")
    await stage.settled()


@TASKS.story()
async def work_is_for_every_node(stage: Stage) -> None:
    await _begin(stage, 2, work_s=2.0)
    await stage.submit("all", _items(1), mode="broadcast")
    await stage.done("all")


@TASKS.story()
async def work_is_cancelled(stage: Stage) -> None:
    await _begin(stage, 1, work_s=600.0)
    await stage.submit("long", _items(3))
    await asyncio.sleep(3)
    await stage.cancel("long")
    await stage.done("long")
    stage.work_s = 0.5
    await stage.submit("next", _items(1))
    await stage.done("next")


@TASKS.story()
async def an_item_kills_whoever_runs_it(stage: Stage) -> None:
    await _begin(stage, 1, work_s=0.5)
    await stage.submit("poison", [*_items(1), *_items(1, b"poison")], attempts=2)
    await stage.done("poison")


@TASKS.story()
async def an_item_fails(stage: Stage) -> None:
    await _begin(stage, 1, work_s=0.5)
    await stage.submit("bad", _items(2, b"bad"))
    await stage.done("bad")


@TASKS.story()
async def the_same_is_submitted_twice(stage: Stage) -> None:
    await _begin(stage, 1, work_s=3.0)
    await stage.submit("once", _items(2))
    await stage.submit("once", _items(2))
    await stage.done("once")
    await stage.submit("once", _items(2))


@TASKS.story()
async def a_node_drains_before_it_leaves(stage: Stage) -> None:
    await _begin(stage, 2, work_s=20.0)
    await stage.submit("long", _items(2))
    await asyncio.sleep(3)
    stage.change(nodes=1)
    await stage.done("long")
    await stage.settled()


@TASKS.story()
async def a_cordoned_node_takes_no_new_work(stage: Stage) -> None:
    await _begin(stage, 2, work_s=3.0)
    node = stage.nodes()[0]
    await stage.cordon(node, True)
    await stage.submit("map", _items(4))
    await stage.done("map")
    await stage.cordon(node, False)
    await stage.settled()


@TASKS.story()
async def an_agent_dies_with_work_in_hand(stage: Stage) -> None:
    await _begin(stage, 1, work_s=10.0)
    await stage.submit("map", _items(2))
    await asyncio.sleep(3)
    for host in stage.hosts.running():
        host.agents[0].kill()
    await stage.done("map")
    await stage.settled()


@TASKS.story()
async def a_pool_with_work_is_deleted(stage: Stage) -> None:
    await _begin(stage, 1, work_s=600.0)
    await stage.submit("long", _items(3))
    await asyncio.sleep(3)
    stage.remove()
    await stage.done("long")
    await stage.until(lambda: not stage.records.pools and not stage.ours())
