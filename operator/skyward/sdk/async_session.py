"""`aconnect`: a session for coroutines. It is an ordinary session underneath, with the same one thread for all of its calls."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self, TypeVar

from skyward.client.tasks import RECONNECT_S
from skyward.errors import NotFound, TaskError
from skyward.sdk.async_bridge import awaitable, signal
from skyward.sdk.async_pool import AsyncPool
from skyward.sdk.session import Session, connect

T = TypeVar("T")


def aconnect(
    config: str | Path | None = None,
    *,
    namespace: str | None = None,
    modules: Iterable[ModuleType | str] = (),
    reconnect_s: float = RECONNECT_S,
) -> AsyncSession:
    """`connect` for coroutines: `async with sky.aconnect() as session`, or await it and `await session.close()`."""
    return AsyncSession(
        functools.partial(connect, config, namespace=namespace, modules=modules, reconnect_s=reconnect_s)
    )


class AsyncSession:
    """Calls come from one event loop, that on which it was opened."""

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open_session = open_session
        self._opened: Session | None = None
        self._objects_lock = asyncio.Lock()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_session))
        try:
            self._opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Idempotent."""
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    def pool(self, name: str, namespace: str | None = None) -> AsyncPool:
        """A handle; whether there is such a pool shows with the first call."""
        return AsyncPool(self, self._session.pool(name, namespace))

    async def apply(self, manifest: str | Path) -> AsyncPool:
        """Create or change the one pool that a manifest declares: a path, or the text itself. Does not wait for it."""
        return AsyncPool(self, await self.in_thread(functools.partial(self._session.apply, manifest)))

    async def task(self, id: str) -> asyncio.Future[Any]:
        """`Session.task`: once it returns, the future is there to be awaited. Raises NotFound when there is no such task."""
        future = self._session.attach(id)
        accepted = future.follower.uid()
        await signal(accepted)
        if isinstance(accepted.exception(), NotFound):
            uid = await self.in_thread(functools.partial(self._session.task_uid, id))
            future = self._session.attach(uid)
            accepted = future.follower.uid()
            await signal(accepted)
        accepted.result()
        return awaitable(future)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what asks the operator's HTTP API, one after the other."""
        async with self._objects_lock:
            return await asyncio.to_thread(work)

    async def show_output(self) -> None:
        """Until what calls printed so far is shown; at once when it is."""
        console = self._session.engine.console
        if console.is_behind:
            await asyncio.to_thread(console.flush)

    @property
    def _session(self) -> Session:
        if self._opened is None:
            raise TaskError("the session is not open: use it in `async with`, or await it")
        return self._opened


def _close_unwanted(opening: asyncio.Future[Session]) -> None:
    """Whoever asked for it is gone."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
