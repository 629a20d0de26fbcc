from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from skyward.kit.lifecycle import run_all
from tests.fakes.time import FakeClock, run_virtual


class Room:
    def __init__(self, name: str, log: list[str], *, fails_after: float | None = None, hangs_s: float = 0.0) -> None:
        self.name = name
        self._log = log
        self._fails_after = fails_after
        self._hangs_s = hangs_s

    async def run(self, ready: Callable[[], None]) -> None:
        self._log.append(f"start {self.name}")
        await asyncio.sleep(1)
        ready()
        try:
            if self._fails_after is not None:
                await asyncio.sleep(self._fails_after)
                raise RuntimeError(f"{self.name} broke")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self._hangs_s)
            self._log.append(f"stop {self.name}")


def test_starts_in_order_and_stops_in_reverse() -> None:
    clock, log = FakeClock(), list[str]()

    async def main() -> None:
        task = asyncio.create_task(run_all([Room(name, log) for name in "abc"], clock))
        await asyncio.sleep(2.5)
        assert log == ["start a", "start b", "start c"]
        await asyncio.sleep(10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(main(), clock)

    assert log[3:] == ["stop c", "stop b", "stop a"]


def test_a_component_that_fails_takes_the_program_down_with_its_error() -> None:
    clock, log = FakeClock(), list[str]()

    with pytest.raises(RuntimeError, match="b broke"):
        run_virtual(run_all([Room("a", log), Room("b", log, fails_after=5), Room("c", log)], clock), clock)

    assert log[-3:] == ["stop b", "stop c", "stop a"]


def test_a_component_that_fails_before_it_is_ready_stops_the_start() -> None:
    class Stillborn(Room):
        async def run(self, ready: Callable[[], None]) -> None:
            raise OSError("address already in use")

    clock, log = FakeClock(), list[str]()

    with pytest.raises(OSError, match="already in use"):
        run_virtual(run_all([Room("a", log), Stillborn("b", log), Room("c", log)], clock), clock)

    assert log == ["start a", "stop a"]


def test_a_component_that_does_not_stop_in_time_does_not_hold_up_the_others() -> None:
    clock, log = FakeClock(), list[str]()

    async def main() -> None:
        task = asyncio.create_task(run_all([Room("a", log), Room("b", log, hangs_s=60)], clock, stop_s=5))
        await asyncio.sleep(10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert log[2:] == ["stop a"]
        assert clock.monotonic() == pytest.approx(15)
        await asyncio.sleep(100)

    run_virtual(main(), clock)
