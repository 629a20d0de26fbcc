"""Interruption notices that reach the node itself: a file in its home, `SECONDS TEXT`, with the time at which it is taken away.

Whatever hears of it on the node writes the file (a provider's hook, a script that asks its metadata service); removing it
takes the notice back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from skyward_agent.wire.records import record

PERIOD_S = 1.0
_LONGEST = 200


@record(frozen=True, slots=True)
class Notice:
    at: float = 0.0
    """Seconds since 1970; 0 when there is none."""
    text: str = ""


class NoticeSensor:
    def __init__(self, home: Path, changed: Callable[[], None]) -> None:
        self.notice = Notice()
        self._path = home / "notice"
        self._changed = changed

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            notice = read_notice(self._path)
            if notice != self.notice:
                self.notice = notice
                self._changed()
            await asyncio.sleep(PERIOD_S)


def read_notice(path: Path) -> Notice:
    """What the file says; none when it is absent or says nothing that can be understood."""
    try:
        seconds, _, text = path.read_text(errors="replace").strip().partition(" ")
        at = float(seconds)
    except (OSError, ValueError):
        return Notice()
    return Notice(at, text.strip()[:_LONGEST]) if 0 < at < float("inf") else Notice()
