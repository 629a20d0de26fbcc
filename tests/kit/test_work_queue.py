"""The rules of client-go's work queue, kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from skyward.kit.backoff import Backoff
from skyward.kit.work_queue import WorkQueue
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual


def with_queue(main: Callable[[WorkQueue, FakeClock], Awaitable[None]]) -> None:
    async def run() -> None:
        queue = WorkQueue(clock, FakeIds())
        timers = asyncio.create_task(queue.run_timers())
        try:
            await main(queue, clock)
        finally:
            timers.cancel()
            await asyncio.gather(timers, return_exceptions=True)

    clock = FakeClock()
    run_virtual(run(), clock)


def test_equal_keys_are_merged() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        for _ in range(3):
            queue.add("a")

        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    with_queue(main)


def test_keys_come_in_the_order_of_arrival() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        for key in "cab":
            queue.add(key)

        assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]

    with_queue(main)


def test_offered_keys_let_all_others_pass() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        for key in "xy":
            queue.offer(key)
        for key in "abc":
            queue.add(key)

        assert [await queue.get() for _ in range(5)] == ["a", "b", "c", "x", "y"]

    with_queue(main)


def test_an_offered_key_that_is_added_is_one_key_and_waits_no_longer() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        for key in "xy":
            queue.offer(key)
        queue.add("a")
        queue.add("y")
        queue.offer("a")

        assert len(queue) == 3
        assert [await queue.get() for _ in range(3)] == ["a", "y", "x"]
        for key in "ayx":
            queue.done(key)
        assert queue.is_idle

    with_queue(main)


def test_an_offered_key_has_its_turn_though_news_never_end() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        queue.offer("x")
        taken: list[str] = []
        for number in range(8):
            queue.add(f"news-{number}")
            taken.append(await queue.get())

        assert "x" in taken

    with_queue(main)


def test_an_add_during_processing_is_handed_out_again_and_not_before_done() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add("a")
        assert await queue.get() == "a"

        queue.add("a")
        queue.add("a")

        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.is_idle

    with_queue(main)


def test_a_delayed_key_comes_when_its_earliest_time_has_passed() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        queue.add_after("late", 10)
        queue.add_after("a", 5)
        queue.add_after("a", 2)
        queue.add_after("a", 7)

        assert await queue.get() == "a"
        assert clock.monotonic() == pytest.approx(2)
        queue.done("a")
        assert await queue.get() == "late"
        assert clock.monotonic() == pytest.approx(10)

    with_queue(main)


def test_a_cancelled_getter_leaves_its_key_to_another() -> None:
    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        first = asyncio.create_task(queue.get())
        second = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()

        assert await second == "a"

    with_queue(main)


def test_backoff_doubles_to_its_ceiling_and_starts_anew_after_success() -> None:
    class Always(FakeIds):
        def fraction(self) -> float:
            return 1.0

    backoff = Backoff(Always(), first_s=0.05, most_s=300.0)

    delays = [backoff.next_s("a") for _ in range(20)]

    assert delays[:4] == pytest.approx([0.05, 0.1, 0.2, 0.4])
    assert delays[-1] == 300.0
    backoff.forget("a")
    assert backoff.next_s("a") == pytest.approx(0.05)


@pytest.mark.parametrize("seed", range(20))
def test_no_key_is_processed_twice_at_once_and_no_add_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    added: dict[str, float] = {}
    handled: dict[str, float] = {}
    busy: set[str] = set()

    async def worker(queue: WorkQueue, clock: FakeClock) -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            started = clock.monotonic()
            await clock.sleep(rng.random() / 10)
            busy.discard(key)
            handled[key] = started
            queue.done(key)

    async def main(queue: WorkQueue, clock: FakeClock) -> None:
        workers = [asyncio.create_task(worker(queue, clock)) for _ in range(4)]
        for _ in range(300):
            key = rng.choice("abcdef")
            added[key] = clock.monotonic()
            rng.choice((queue.add, queue.offer, lambda k: queue.add_after(k, rng.random() / 5)))(key)
            await clock.sleep(rng.random() / 50)
        await clock.sleep(5)
        assert all(handled[key] >= when for key, when in added.items())
        assert queue.is_idle
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    with_queue(main)
