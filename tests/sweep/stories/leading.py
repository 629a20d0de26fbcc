"""Operators that die, stop, stand still and come back to other clocks and other records; machines that nobody knows."""

from __future__ import annotations

import asyncio

from skyward.facts import LaunchState
from tests.simulation.cloud import FOREIGN
from tests.sweep.script import LOST_REQUEST
from tests.sweep.stage import Stage
from tests.sweep.story import Book

LEADING = Book()


async def _begin(stage: Stage, nodes: int = 1) -> None:
    stage.apply(nodes)
    await stage.settled()


@LEADING.story()
async def an_operator_is_stopped_in_good_order(stage: Stage) -> None:
    await _begin(stage)
    stage.change(nodes=2)
    await asyncio.sleep(2)
    stage.stop()
    await asyncio.sleep(2)
    await stage.settled()


@LEADING.story()
async def an_operator_is_away_while_things_happen(stage: Stage) -> None:
    await _begin(stage, 2)
    stage.wanted = 0
    stage.kill()
    stage.cloud.vanish(stage.machine())
    stage.change(nodes=3)
    await asyncio.sleep(60)
    stage.wanted = 1
    stage.revive()
    await stage.settled()


@LEADING.story(operators=2)
async def a_standby_takes_over(stage: Stage) -> None:
    await _begin(stage)
    stage.change(nodes=2)
    await asyncio.sleep(1)
    stage.kill()
    await stage.settled()


@LEADING.story(operators=2)
async def a_leader_stands_still_and_comes_back(stage: Stage) -> None:
    await _begin(stage)
    stage.change(nodes=2)
    await asyncio.sleep(1)
    leader = stage.operator
    if leader is not None:
        leader.process.frozen = []
    await asyncio.sleep(40)
    if leader is not None:
        stage.loop.thaw(leader.process)
    await stage.settled()


@LEADING.story()
async def the_disk_is_full_for_a_while(stage: Stage) -> None:
    await _begin(stage)
    stage.disk_is_full = True
    stage.change(nodes=2)
    await asyncio.sleep(20)
    stage.disk_is_full = False
    await stage.settled()


@LEADING.story()
async def the_wall_clock_jumps(stage: Stage) -> None:
    await _begin(stage)
    stage.set_wall_clock(7200.0)
    stage.change(nodes=2)
    await stage.settled()


@LEADING.story()
async def a_machine_that_no_record_knows_is_swept(stage: Stage) -> None:
    """It is of a leadership that is over, and after which nothing strange was listed for as long as a listing may hide it: these
    records cannot be older than it."""
    await _begin(stage)
    await asyncio.sleep(120)
    stage.kill()
    await asyncio.sleep(5)
    orphan = stage.cloud.add("o-1", stage.installation, "lost-launch", "lost-pool")
    await stage.until(lambda: not stage.cloud.is_alive(orphan))
    await stage.settled()


@LEADING.story()
async def a_machine_of_a_later_leadership_stops_everything(stage: Stage) -> None:
    """Its agents too have to wait: a new operator goes to no machine before it may trust its records."""
    await _begin(stage)
    stage.cloud.add("o-1", stage.installation, "later-launch", "later-pool").epoch = 99
    await stage.stalled("LineageUnknown")
    stage.kill()
    stage.change(nodes=2)
    await asyncio.sleep(60)


@LEADING.story()
async def a_machine_of_a_later_leadership_is_accepted(stage: Stage) -> None:
    await a_machine_of_a_later_leadership_stops_everything(stage)
    await stage.adopt()
    await stage.settled()


@LEADING.story()
async def a_machine_of_somebody_else_is_left_alone(stage: Stage) -> None:
    stage.cloud.add("f-1", FOREIGN, "their-launch", "their-pool")
    await _begin(stage)
    stage.remove()
    await stage.until(lambda: not stage.records.pools)


@LEADING.story(profile="listed")
async def what_was_believed_absent_appears_late(stage: Stage) -> None:
    stage.network.planned["create"] = [LOST_REQUEST]
    await _begin(stage)
    absent = next((one for one in stage.records.launches.values() if one.state is LaunchState.ABSENT), None)
    if absent is not None:
        stage.cloud.add("late", stage.installation, absent.id, absent.pool_uid)
    await asyncio.sleep(10)
    await stage.settled()


@LEADING.story()
async def older_records_are_restored_and_what_they_lack_is_adopted(stage: Stage) -> None:
    await _begin(stage)
    backup = stage.copied_records()
    stage.change(nodes=2)
    await stage.settled()
    stage.wanted = 0
    stage.kill()
    stage.restore(backup)
    stage.wanted = 1
    stage.revive()
    await stage.stalled("LineageUnknown")
    await stage.adopt()
    await stage.settled()
