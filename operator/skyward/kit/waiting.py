"""Waiting for an event or for time to pass, whichever comes first."""

from __future__ import annotations

import asyncio


async def wait_for(event: asyncio.Event, seconds: float | None) -> bool:
    """True when the event was set, False when the time passed: the loop's own, on which every clock sleeps. The event is left as
    it is; None waits without end. Makes no task: components spend their lives in here."""
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return event.is_set()
