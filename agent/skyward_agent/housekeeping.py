"""What the agent keeps on disk and clears from it, beside the event loop: spooled reports, and what dead children left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from skyward_agent.link.spool import Spool
from skyward_agent.wire.messages import AttemptId, Report


class Housekeeping:
    """Lives on the event loop; disk is touched in another thread, and once more when all has ended."""

    def __init__(self, home: Path, clear_away: Callable[[], None]) -> None:
        """`clear_away` is called in that thread."""
        self._spool = Spool(home / "spool")
        self.found = self._spool.load()
        """Reports that an earlier incarnation was not rid of."""
        self._spooled = {report.id for report in self.found}
        self._changes: list[Report | AttemptId] = []
        self._clear_away = clear_away
        self._wake = asyncio.Event()
        self._tidying = threading.Lock()

    def spool(self, report: Report) -> None:
        self._spooled.add(report.id)
        self._change(report)

    def forget(self, attempt: AttemptId) -> None:
        """Its report is no longer needed."""
        if attempt in self._spooled:
            self._spooled.discard(attempt)
            self._change(attempt)

    def call(self) -> None:
        """There is something to clear away."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.to_thread(self.tidy)

    def tidy(self) -> None:
        with self._tidying:  # the last time, a thread may still be at it
            changes, self._changes = self._changes, []
            self._spool.apply(changes)
            self._clear_away()

    def _change(self, change: Report | AttemptId) -> None:
        self._changes.append(change)
        self._wake.set()
