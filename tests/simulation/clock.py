"""Time as one process sees it: the loop's, with a wall that can be set wrong."""

from __future__ import annotations

import asyncio

from tests.simulation.loop import START, SimLoop


class SimClock:
    """Implements `contracts.Clock`."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.wall_error_s = 0.0

    def now(self) -> float:
        return START + self._loop._now + self.wall_error_s

    def monotonic(self) -> float:
        return self._loop._now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds if seconds > 0.0 else 0.0)
