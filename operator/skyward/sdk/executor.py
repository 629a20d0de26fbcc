"""A pool behind the standard library's Executor: what works with a process pool works with a pool of machines.

What differs is only more: a call that runs can be cancelled, and a worker process that dies ends its own call, not the
executor.
"""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, wait
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from skyward.errors import NotPicklable, PayloadTooLarge
from skyward.sdk import initializing
from skyward.sdk.futures import TaskFuture
from skyward.sdk.maps import MapIterator

if TYPE_CHECKING:
    from skyward.sdk.pool import PoolHandle
    from skyward.sdk.sent import Sent

P = ParamSpec("P")
T = TypeVar("T")

_AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"


class PoolExecutor(Executor):
    """Calls may come from any thread. The session must outlive it."""

    def __init__(
        self, pool: PoolHandle, *, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._pool = pool
        self._initializer = initializer
        self._initargs = initargs
        self._id = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        self._maps: set[MapIterator[Any]] = set()
        self._is_shut_down = False
        self._broken: BaseException | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future of the call. What cannot be pickled is told by the future, as by a process pool's. Raises RuntimeError after
        `shutdown`, BrokenExecutor after the initializer failed."""
        # Pickling may take long and runs code of the caller's: not under the lock, which results need as well.
        self._check_open()
        try:
            sent = self._prepare(fn)
            arguments = sent.call(args, kwargs)
        except (NotPicklable, PayloadTooLarge) as error:
            return _failed(error)
        with self._lock:
            self._check_open()
            future = self._pool.start(sent, arguments)
            self._pending.add(future)
        Future.add_done_callback(future, self._ended)
        return future

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Results in order. All items are read at once, and run whether the results are taken or not; `pool.map` reads them
        as results are taken. `chunksize` is heeded by nobody: items always travel in chunks of a fitting size."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        self._check_open()
        try:
            found = self._begin_map(fn, zip(*iterables, strict=False), timeout)
        except (NotPicklable, PayloadTooLarge) as error:
            return _raising(error)
        with self._lock:
            try:
                self._check_open()
            except (RuntimeError, BrokenExecutor):
                found.close()
                raise
            self._maps = {one for one in self._maps if not one.has_all()} | {found}
        return _taken(found)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, until all have ended. `cancel_futures` cancels the calls that no node runs yet, and
        maps as a whole. Idempotent."""
        with self._lock:
            self._is_shut_down = True
            pending, maps = tuple(self._pending), tuple(self._maps)
        if cancel_futures:
            for future in pending:
                if isinstance(future, TaskFuture):
                    future.cancel_waiting()
            for one in maps:
                if not one.has_all():
                    one.fail(CancelledError())
        if wait:
            _wait_for(pending)
            for one in maps:
                one.wait()

    def _check_open(self) -> None:
        if self._broken is not None:
            raise BrokenExecutor(str(self._broken)) from self._broken
        if self._is_shut_down:
            raise RuntimeError(_AFTER_SHUTDOWN)

    def _prepare(self, fn: Callable[..., Any]) -> Sent:
        if self._initializer is None:
            return self._pool.prepare(fn)
        prepared = functools.partial(initializing.call_initialized, self._id, self._initializer, self._initargs)
        return self._pool.prepare(
            fn, wrap=lambda function: functools.partial(prepared, function), modules=(initializing,)
        )

    def _begin_map(
        self, fn: Callable[..., T], items: Iterable[tuple[Any, ...]], timeout: float | None
    ) -> MapIterator[T]:
        sent = self._prepare(fn)
        return MapIterator(
            self._pool.session.engine,
            (sent.call(args, {}) for args in items),
            self._pool.submitter(sent),
            name=sent.name,
            timeout=timeout,
            eager=True,
            on_error=self._look_at,
        )

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)
        if self._initializer is not None and not future.cancelled():
            self._look_at(Future.exception(future, 0))

    def _look_at(self, error: BaseException | None) -> None:
        """A failed initializer breaks the executor: no process of the pool can be trusted to be prepared."""
        if not isinstance(error, BrokenExecutor) or getattr(error, "skyward_executor", None) != self._id:
            return
        with self._lock:
            if self._broken is not None:
                return
            self._broken = error
            pending, maps = tuple(self._pending), tuple(self._maps)
        for future in pending:
            if isinstance(future, TaskFuture):
                future.give_up(BrokenExecutor(str(error)))
        for one in maps:
            one.fail(BrokenExecutor(str(error)))


def _wait_for(futures: Iterable[Future[Any]]) -> None:
    wait(futures)


def _failed(error: BaseException) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def _raising(error: BaseException) -> Iterator[Any]:
    raise error
    yield


def _taken(results: MapIterator[T]) -> Iterator[T]:
    """Like the standard library's: left before its end, it cancels what has not ended; never begun, it cancels nothing."""
    with results:
        yield from results
