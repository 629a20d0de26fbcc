"""Virtual time: an event loop that never waits. When nothing is left to run, its clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
START = 1_800_000_000.0


class FakeClock:
    """Wall time and monotonic time move together, and only when somebody sleeps or advances."""

    def __init__(self, start: float = START) -> None:
        self._start = start
        self._elapsed = 0.0

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds

    def set_wall(self, by: float) -> None:
        """Somebody sets the wall clock, forward or back; monotonic time goes on."""
        self._start += by


class WallClock:
    """The clock of one host, whose wall time may be set wrong."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.off_s = 0.0

    def now(self) -> float:
        return self._clock.now() + self.off_s

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Timers fire in order without real time passing; a loop that could only wait for ever raises instead."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._virtual = clock
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual.monotonic()


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            ready = super().select(1.0)  # a thread may still answer
            if not ready:
                raise RuntimeError("nothing will ever happen: every task waits for another")
        elif timeout > 0:
            self._clock.advance(timeout)
        return ready


def run_virtual(main: Coroutine[Any, Any, T], clock: FakeClock) -> T:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main)
