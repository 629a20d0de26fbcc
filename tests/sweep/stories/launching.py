"""From desire to machines: create calls that work, that are refused, and of which nobody knows."""

from __future__ import annotations

import asyncio

from tests.sweep.script import LOST_REPLY, LOST_REQUEST
from tests.sweep.stage import Stage
from tests.sweep.story import Book

LAUNCHING = Book()


@LAUNCHING.story()
@LAUNCHING.story(profile="token")
@LAUNCHING.story(profile="listed")
async def provision(stage: Stage) -> None:
    stage.apply(2)
    await stage.settled()


@LAUNCHING.story(profile="market")
async def provision_more_than_one_call_may_ask_for(stage: Stage) -> None:
    stage.apply(3)
    await stage.settled()


@LAUNCHING.story()
async def capacity_is_refused_and_then_found(stage: Stage) -> None:
    stage.cloud.capacity = 0
    stage.apply(2)
    await asyncio.sleep(20)
    stage.cloud.capacity = 100
    await stage.settled()


@LAUNCHING.story(profile="token")
@LAUNCHING.story(profile="listed")
async def the_answer_to_a_create_is_lost(stage: Stage) -> None:
    stage.network.planned["create"] = [LOST_REPLY]
    stage.apply(2)
    await stage.settled()


@LAUNCHING.story(profile="token")
@LAUNCHING.story(profile="listed")
async def a_create_never_arrives(stage: Stage) -> None:
    stage.network.planned["create"] = [LOST_REQUEST]
    stage.apply(2)
    await stage.settled()


@LAUNCHING.story()
async def a_batch_is_made_in_part(stage: Stage) -> None:
    stage.script.order("partial-batch", amount=1)
    stage.apply(3)
    await stage.settled()


@LAUNCHING.story(profile="market")
async def a_machine_is_made_and_fails_to_start(stage: Stage) -> None:
    stage.script.order("created-but-failed")
    stage.apply(1)
    await stage.settled()


@LAUNCHING.story(profile="token")
async def what_was_made_shows_late(stage: Stage) -> None:
    """Every reading is as old as this provider allows."""
    stage.script.order("stale-read", 100, amount=1.0)
    stage.network.planned["create"] = [LOST_REPLY]
    stage.apply(2)
    await stage.settled()


@LAUNCHING.story()
async def more_is_made_than_was_asked_for(stage: Stage) -> None:
    stage.script.order("surplus")
    stage.apply(1)
    await stage.settled()


@LAUNCHING.story(profile="token")
async def a_delete_is_accepted_and_forgotten(stage: Stage) -> None:
    stage.apply(2)
    await stage.settled()
    stage.script.order("lazy-delete")
    stage.change(nodes=1)
    await stage.settled()


@LAUNCHING.story()
async def a_delete_has_to_wait(stage: Stage) -> None:
    stage.apply(2)
    await stage.settled()
    stage.script.order("not-yet", 2)
    stage.change(nodes=1)
    await stage.settled()
