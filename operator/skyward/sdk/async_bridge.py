"""From the engine's thread to a coroutine: futures that an event loop awaits. No thread waits for any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from skyward.sdk.futures import TaskFuture


def awaitable(future: TaskFuture[Any]) -> asyncio.Future[Any]:
    """The call as a future of the running loop, both ways: it ends with the call, and cancelling it cancels the call."""
    return _bridged(future, future.outcome)


def signal(future: Future[Any]) -> asyncio.Future[None]:
    """Done when this future is, however it ended."""
    return _bridged(future, lambda: (None, None))


def _bridged(source: Future[Any], outcome: Callable[[], tuple[Any, BaseException | None]]) -> asyncio.Future[Any]:
    loop = asyncio.get_running_loop()
    target: asyncio.Future[Any] = loop.create_future()

    def finish() -> None:
        if target.done():
            return
        if source.cancelled():
            target.cancel()
            return
        value, error = outcome()
        if error is None:
            target.set_result(value)
        else:
            target.set_exception(_that_may_be_awaited(error))

    def ended(_: Future[Any]) -> None:
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the caller's loop is closed: nobody is left to tell
            return

    target.add_done_callback(lambda done: source.cancel() if done.cancelled() else None)
    # The standard one: what it calls here only wakes the loop, and may do so on the thread that carries everybody's results.
    Future.add_done_callback(source, ended)
    return target


def _that_may_be_awaited(error: BaseException) -> BaseException:
    if not isinstance(error, StopIteration):
        return error
    replaced = RuntimeError("the function raised StopIteration")
    replaced.__cause__ = error
    return replaced
