from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from skyward.kit.controller import DONE, After, Controller, Next
from skyward.kit.work_queue import WorkQueue
from tests.fakes.ids import FakeIds
from tests.fakes.time import FakeClock, run_virtual


class Recording:
    def __init__(self, clock: FakeClock, answer: Callable[[str, int], Next]) -> None:
        self.times: dict[str, list[float]] = {}
        self.calls: Counter[str] = Counter()
        self._clock = clock
        self._answer = answer

    async def reconcile(self, key: str) -> Next:
        self.calls[key] += 1
        self.times.setdefault(key, []).append(self._clock.monotonic())
        return self._answer(key, self.calls[key])


def run_for(seconds: float, answer: Callable[[str, int], Next], keys: tuple[str, ...] = ("a", "b")) -> Recording:
    clock = FakeClock()
    recording = Recording(clock, answer)

    async def main() -> None:
        ids = FakeIds()
        controller = Controller(
            "test", recording, WorkQueue(clock, ids), workers=2, clock=clock, ids=ids, keys=lambda: keys, resync_s=1000
        )
        task = asyncio.create_task(controller.run(lambda: None))
        await clock.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(main(), clock)
    return recording


def test_every_key_is_reconciled_at_the_start_and_then_only_when_asked() -> None:
    recording = run_for(500, lambda key, call: DONE)

    assert recording.calls == {"a": 1, "b": 1}


def test_waiting_comes_back_when_it_said() -> None:
    recording = run_for(25, lambda key, call: After(10, "waiting"))

    assert recording.times["a"] == pytest.approx([0, 10, 20])


def test_a_failing_key_backs_off_and_others_go_on() -> None:
    def answer(key: str, call: int) -> Next:
        if key == "a":
            raise RuntimeError("broken")
        return After(1, "waiting")

    recording = run_for(60, answer)

    assert recording.calls["b"] == 60
    assert 5 < recording.calls["a"] < 40


def test_success_ends_the_backoff() -> None:
    def answer(key: str, call: int) -> Next:
        if call < 5:
            raise RuntimeError("broken")
        return DONE

    recording = run_for(100, answer, ("a",))

    assert recording.calls["a"] == 5


def test_every_key_is_looked_at_again_at_each_resync() -> None:
    recording = run_for(2500, lambda key, call: DONE)

    assert recording.calls["a"] == 3


def test_a_resync_of_many_keys_is_spread_over_its_period() -> None:
    keys = tuple(f"key-{number:03d}" for number in range(200))
    recording = run_for(3000, lambda key, call: DONE, keys)
    later = sorted(times[1] for times in recording.times.values())

    assert all(times[0] == 0 for times in recording.times.values())
    assert max(Counter(later).values()) <= 10
    assert all(len(times) >= 3 for times in recording.times.values())


def test_a_key_that_comes_up_during_a_resync_is_looked_at_by_its_end() -> None:
    keys = [f"key-{number:03d}" for number in range(200)]
    clock = FakeClock()
    recording = Recording(clock, lambda key, call: DONE)

    async def main() -> None:
        ids = FakeIds()
        controller = Controller(
            "test", recording, WorkQueue(clock, ids), workers=2, clock=clock, ids=ids, keys=lambda: keys, resync_s=1000
        )
        task = asyncio.create_task(controller.run(lambda: None))
        await clock.sleep(500)
        keys.append("late")
        await clock.sleep(650)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(main(), clock)

    assert recording.calls["late"] >= 1


class BusyClock(FakeClock):
    """Whoever looks at it spends some time."""

    def monotonic(self) -> float:
        self.advance(0.001)
        return super().monotonic()


def test_passes_that_wait_for_nothing_give_the_rest_a_turn() -> None:
    clock = BusyClock()
    recording = Recording(clock, lambda key, call: DONE)
    seen: list[int] = []

    async def neighbour() -> None:
        while not seen or seen[-1] < 100:
            seen.append(recording.calls.total())
            await asyncio.sleep(0)

    async def main() -> None:
        ids = FakeIds()
        keys = tuple(f"key-{number}" for number in range(100))
        controller = Controller(
            "test", recording, WorkQueue(clock, ids), workers=4, clock=clock, ids=ids, keys=lambda: keys
        )
        running = asyncio.create_task(controller.run(lambda: None))
        await neighbour()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())

    assert max(later - before for before, later in pairwise(seen)) < 10
