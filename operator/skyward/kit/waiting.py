"""Waiting for an event or for time to pass, whichever comes first, on the clock that was given."""

from __future__ import annotations

import asyncio

from skyward.contracts import Clock


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float | None) -> bool:
    """True when the event was set, False when the time passed. The event is left as it is; None waits without end."""
    if event.is_set():
        return True
    if seconds is None:
        return await event.wait()
    woken = asyncio.ensure_future(event.wait())
    slept = asyncio.ensure_future(clock.sleep(max(0.0, seconds)))
    try:
        await asyncio.wait((woken, slept), return_when=asyncio.FIRST_COMPLETED)
        return event.is_set()
    finally:
        woken.cancel()
        slept.cancel()
        await asyncio.gather(woken, slept, return_exceptions=True)
