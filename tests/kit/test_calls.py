"""Calls to providers: one of a key at a time, lanes that do not wait for each other, growing pauses after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from skyward.errors import ProviderUnavailable
from skyward.kit.calls import Calls
from skyward.kit.controller import DONE, After
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual


def with_calls(story: Callable[[Calls], Awaitable[None]], at_once: int = 16) -> None:
    clock = FakeClock()

    async def main() -> None:
        calls = Calls(clock, FakeIds(), at_once=at_once)
        ready = asyncio.Event()
        running = asyncio.create_task(calls.run(ready.set))
        await ready.wait()
        try:
            await story(calls)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    run_virtual(main(), clock)


async def hang() -> None:
    await asyncio.Event().wait()


def test_a_key_has_one_call_at_a_time_and_its_end_wakes() -> None:
    async def story(calls: Calls) -> None:
        ended: list[float] = []
        begun = 0

        async def work() -> None:
            nonlocal begun
            begun += 1
            await asyncio.sleep(1)

        assert calls.begin("a", "lane", work, ended.append) == DONE
        assert calls.begin("a", "lane", work, ended.append) == DONE
        await asyncio.sleep(2)

        assert begun == 1
        assert ended == [0.0]
        assert calls.hindrance("a") is None

    with_calls(story)


def test_a_call_that_hangs_holds_up_neither_another_lane_nor_the_rest_of_its_own() -> None:
    async def story(calls: Calls) -> None:
        ended: list[str] = []

        async def work() -> None:
            await asyncio.sleep(1)

        for key in ("stuck", "second"):
            calls.begin(key, "one", hang if key == "stuck" else work, lambda _, key=key: ended.append(key))  # type: ignore[misc]
        calls.begin("elsewhere", "two", work, lambda _: ended.append("elsewhere"))
        await asyncio.sleep(5)

        assert sorted(ended) == ["elsewhere", "second"]

    with_calls(story, at_once=2)


def test_a_lane_has_no_more_calls_under_way_than_its_limit() -> None:
    async def story(calls: Calls) -> None:
        now = most = 0

        async def work() -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(1)
            now -= 1

        for number in range(9):
            calls.begin(str(number), "lane", work, lambda _: None)
        await asyncio.sleep(10)

        assert most == 3
        assert now == 0

    with_calls(story, at_once=3)


@pytest.mark.parametrize("error", [ProviderUnavailable("503"), ValueError("a bug in a driver")])
def test_a_failed_call_is_left_alone_for_a_while_that_grows(error: Exception) -> None:
    async def story(calls: Calls) -> None:
        pauses: list[float] = []

        async def work() -> None:
            raise error

        for _ in range(12):
            assert calls.begin("a", "lane", work, pauses.append) == DONE
            await asyncio.sleep(0.001)
            hindered = calls.hindrance("a")
            assert isinstance(hindered, After)
            assert hindered.duration_s <= pauses[-1]
            await asyncio.sleep(pauses[-1])

        assert max(pauses[:3]) < 1
        assert 5 < max(pauses) <= 60
        calls.forget("a")
        assert calls.begin("a", "lane", work, pauses.append) == DONE
        await asyncio.sleep(0.001)
        assert pauses[-1] < 0.1

    with_calls(story)
