"""`map` for coroutines: `async for` over the results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Generic, Self, TypeVar

from skyward.sdk.engine import Engine
from skyward.sdk.feeds import Submit
from skyward.sdk.maps import MapWindow

T = TypeVar("T")

_TURN = 64
"""Results handed out before other coroutines have their turn."""


class AsyncMapIterator(AsyncIterator[T], Generic[T]):
    """Results in the order of the items. Closing it, dropping it, or cancelling who waits for it cancels what has not ended."""

    def __init__(
        self,
        engine: Engine,
        items: Iterator[bytes],
        submit: Submit,
        *,
        name: str,
        return_exceptions: bool,
        timeout: float | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = None if timeout is None else self._loop.time() + timeout
        self._news = asyncio.Event()
        self._handed_out = 0
        self._window: MapWindow[T] = MapWindow(
            engine, items, submit, name=name, return_exceptions=return_exceptions, wake=self._wake
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        window = self._window
        while not window.is_closed:
            self._news.clear()
            result = window.step()
            if result is not None:
                self._handed_out += 1
                if self._handed_out % _TURN == 0:
                    await asyncio.sleep(0)
                return window.value(result)
            if not window.is_closed:
                await self._wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel what has not ended. Idempotent."""
        self._window.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        window = getattr(self, "_window", None)
        if window is not None:
            window.close()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._news.wait()
        except TimeoutError:
            raise self._window.time_out() from None
        except asyncio.CancelledError:
            self._window.close()
            raise

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the caller's loop is closed: nobody is left to tell
            return
