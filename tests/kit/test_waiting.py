"""Waiting for an event or for time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from skyward.kit.waiting import wait_for
from tests.fakes.time import FakeClock, run_virtual


def run(story: Coroutine[Any, Any, bool]) -> tuple[bool, float]:
    """What it answered, and how long that took."""
    clock = FakeClock()
    answer = run_virtual(story, clock)
    return answer, clock.monotonic()


def test_time_that_passes_is_told_from_an_event() -> None:
    async def story() -> bool:
        return await wait_for(asyncio.Event(), 5.0)

    assert run(story()) == (False, 5.0)


def test_an_event_ends_the_wait_and_is_left_as_it_is() -> None:
    async def story() -> bool:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(2.0, event.set)
        return await wait_for(event, 5.0) and event.is_set()

    assert run(story()) == (True, 2.0)


def test_without_a_time_only_the_event_ends_the_wait() -> None:
    async def story() -> bool:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(86_400.0, event.set)
        return await wait_for(event, None)

    assert run(story()) == (True, 86_400.0)


def test_an_event_that_is_set_when_the_time_is_over_counts() -> None:
    async def story() -> bool:
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(5.0, event.set)
        return await wait_for(event, 5.0)

    assert run(story()) == (True, 5.0)


def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    async def story() -> bool:
        waiting = asyncio.create_task(wait_for(asyncio.Event(), 5.0))
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return waiting.cancelled() and asyncio.all_tasks() == {asyncio.current_task()}

    assert run(story()) == (True, 1.0)
