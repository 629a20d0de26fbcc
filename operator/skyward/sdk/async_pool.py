"""A pool for coroutines: the calls of `PoolHandle` by the same names, each awaited where that one waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from skyward.sdk.async_bridge import awaitable, signal
from skyward.sdk.async_maps import AsyncMapIterator
from skyward.sdk.functions import Call
from skyward.sdk.pool import PoolHandle
from skyward.sdk.readiness import POLL_S, Patience
from skyward.sdk.streams import AsyncStream, is_stream
from skyward_agent.wire.files import File

if TYPE_CHECKING:
    from skyward.sdk.async_session import AsyncSession

P = ParamSpec("P")
T = TypeVar("T")


class AsyncPool:
    """Cheap, like the handle that it wraps. Cancelling whoever awaits a call cancels the call on its node."""

    def __init__(self, session: AsyncSession, pool: PoolHandle) -> None:
        self._session = session
        self._pool = pool

    def __repr__(self) -> str:
        return repr(self._pool)

    @property
    def name(self) -> str:
        return self._pool.name

    @property
    def namespace(self) -> str:
        return self._pool.namespace

    def options(self, **options: Any) -> AsyncPool:
        """The same pool, called with these options: those of `PoolHandle.options`."""
        return AsyncPool(self._session, self._pool.options(**options))

    def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """Call it on one node and return its result, or raise its exception with the remote traceback as cause. What a
        generator function yields comes as it is made: `async for x in pool.run(generate)`."""
        if is_stream(function):
            return AsyncStream(self._pool.start_stream(function, *args, **kwargs))  # type: ignore[return-value]
        return self._run(function, *args, **kwargs)

    async def _run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            value = await self.submit(function, *args, **kwargs)
        except Exception:  # but not for a cancellation, which nothing may hold up
            await self._session.show_output()
            raise
        await self._session.show_output()
        return value

    async def put(self, path: str | os.PathLike[str]) -> File:
        """As `PoolHandle.put`."""
        return await asyncio.to_thread(self._pool.put, path)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Call it on one node some time; raises NotPicklable at once, everything else comes from the future."""
        return awaitable(self._pool.submit(function, *args, **kwargs))

    def map(
        self,
        function: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        return_exceptions: bool = False,
        timeout: float | None = None,
    ) -> AsyncMapIterator[T]:
        """Call it for each item; `async for` gives the results in order. Otherwise like `PoolHandle.map`."""
        sent = self._pool.prepare(function)
        return AsyncMapIterator(
            self._pool.session.engine,
            sent.calls(iterables),
            self._pool.submitter(sent),
            name=sent.name,
            return_exceptions=return_exceptions,
            timeout=timeout,
        )

    async def broadcast(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Call it once on every ready node; results by rank. The first failure is raised and cancels the other ranks."""
        follower = self._pool.start_broadcast(function, *args, **kwargs)
        try:
            await signal(follower.outcome)
        except asyncio.CancelledError:
            self._pool.session.engine.post(follower.cancel)
            raise
        await self._session.show_output()
        return follower.values()

    async def gather(self, calls: Sequence[Call[Any]]) -> tuple[Any, ...]:
        """Run these calls side by side; all results, or the first failure, with the rest cancelled."""
        futures = [self.submit(call.function, *call.args, **call.kwargs) for call in calls]
        try:
            return tuple(await asyncio.gather(*futures))
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    async def wait_ready(self, timeout: float | None = 300.0) -> Self:
        """Wait until the pool is Ready for its newest spec; errors as of `PoolHandle.wait_ready`."""
        patience = Patience(self.name, timeout)
        while not patience.is_over(await self._session.in_thread(self._pool.look)):  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(POLL_S)
        return self
