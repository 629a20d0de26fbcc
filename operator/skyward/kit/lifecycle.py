"""Starting and stopping the long-lived rooms of a program, in order and within a stated time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from skyward.contracts import Clock
from skyward.errors import LeadershipLost, UserError

_log = structlog.get_logger()
_MOMENT_S = 0.05


class Component(Protocol):
    @property
    def name(self) -> str: ...

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled; call `ready` once serving; clean up when cancelled."""
        ...


class Named:
    """Gives a name to anything that has `run(ready)`."""

    def __init__(self, name: str, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self.name = name
        self._run = run

    async def run(self, ready: Callable[[], None]) -> None:
        await self._run(ready)


async def run_all(
    components: Sequence[Component], clock: Clock, *, stop_s: float = 5.0, all_stop_s: float = 8.0
) -> None:
    """Start each component after the former is ready, and serve until cancelled. A component that fails, or ends by itself,
    takes the others down; its error comes out here. Stops in reverse order, `stop_s` for each and `all_stop_s` for all of them:
    after that each gets a moment, and what it waits for is abandoned."""
    running: list[asyncio.Task[None]] = []
    try:
        for component in components:
            started = clock.monotonic()
            await _start(component, running)
            duration_s = round(clock.monotonic() - started, 3)
            _log.debug("component ready", component=component.name, duration_s=duration_s)
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        _raise_ended(running)
    finally:
        deadline = clock.monotonic() + all_stop_s
        for task in reversed(running):
            await _stop(task, min(stop_s, max(deadline - clock.monotonic(), _MOMENT_S)))


async def _start(component: Component, running: list[asyncio.Task[None]]) -> None:
    ready = asyncio.Event()
    running.append(asyncio.create_task(component.run(ready.set), name=component.name))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait((waiting, *running), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    _raise_ended(running)


def _raise_ended(running: list[asyncio.Task[None]]) -> None:
    for task in running:
        if task.done():
            task.result()
            raise RuntimeError(f"{task.get_name()} ended by itself")


async def _stop(task: asyncio.Task[None], stop_s: float) -> None:
    if not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=stop_s)
    if not task.done():
        _log.error("component did not stop in time", component=task.get_name(), stop_s=stop_s)
    elif task.cancelled() or (error := task.exception()) is None:
        return
    elif isinstance(error, UserError | LeadershipLost):
        _log.debug("component refused", component=task.get_name(), error=str(error))  # whoever runs us tells the user
    else:
        _log.error("component failed", component=task.get_name(), error=str(error), exc_info=error)
