"""Waits for the next time on an agenda, and then does what is due. While nothing is on it, nothing runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from skyward.contracts import Clock

log = structlog.get_logger()

_LONGEST_S = 60.0
"""The clock on the wall may be set while we sleep: it is read again at least this often."""
_RETRY_S = 1.0


class Alarm:
    def __init__(
        self, clock: Clock, next_at: Callable[[], float | None], ring: Callable[[float], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._next_at = next_at
        self._ring = ring
        self._waits_for: float | None = None
        """None while it rings: then it looks again by itself."""
        self._task: asyncio.Task[None] | None = None

    def set(self) -> None:
        """Something may have come onto the agenda that is earlier than all else."""
        at = self._next_at()
        if at is None:
            return
        if self._task is not None and not self._task.done():
            if self._waits_for is None or self._waits_for <= at:
                return
            self._task.cancel()
        self._waits_for = at
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Ringing is never interrupted: `set` cancels only what sleeps."""
        while (at := self._next_at()) is not None:
            self._waits_for = at
            left_s = at - self._clock.now()
            if left_s > 0:
                await self._clock.sleep(min(left_s, _LONGEST_S))
                continue
            self._waits_for = None
            try:
                await self._ring(self._clock.now())
            except Exception:
                log.exception("what was due is not done")
                await self._clock.sleep(_RETRY_S)
