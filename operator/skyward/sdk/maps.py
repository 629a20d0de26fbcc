"""`map`: one task with many items, fed from the caller's iterator as results are taken out. Endless iterators are fine.

The caller's thread does all that is the caller's: it pulls the iterator, pickles the items and unpickles the results.
The loop's thread only moves bytes. `MapWindow` is what the two ways of waiting share: a thread's (`MapIterator`) and a
coroutine's (`AsyncMapIterator`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Generic, Self, TypeVar

from skyward.errors import TaskError
from skyward.sdk.engine import Engine
from skyward.sdk.feeds import Chunk, Feed, Submit
from skyward.sdk.futures import nothing
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import Result

T = TypeVar("T")

WINDOW = 2000
"""Items that may be sent ahead of the next result to be taken."""
_WINDOW_BYTES = 256 * 1024 * 1024
"""The window shrinks when results are so large that a full one would take more memory than this."""
_SMALLEST_WINDOW = 16
_FIRST_CHUNK = 32
_CHUNK = 256
_CHUNK_BYTES = 4 * 1024 * 1024
_CHUNK_AGE_S = 0.01
"""A slow iterator does not hold back what it gave already."""
_QUICK_S = 0.005
"""An iterator slower than this is pulled only when there is nothing to hand out."""
_TOP_UP = 2


class MapWindow(Generic[T]):
    """One map as its caller holds it. One thread at a time."""

    def __init__(
        self,
        engine: Engine,
        items: Iterator[bytes],
        submit: Submit,
        *,
        name: str,
        return_exceptions: bool = False,
        eager: bool = False,
        wake: Callable[[], None] = nothing,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        """`eager` reads all items now. `wake` is called on the engine's threads whenever there is news; `on_error` with what
        an item raised, before the caller gets it."""
        self.feed = Feed(engine, submit, wake)
        self.is_closed = False
        self._engine = engine
        self._items = items
        self._name = name
        self._return_exceptions = return_exceptions
        self._eager = eager
        self._on_error = on_error
        self._chunk: list[bytes] = []
        self._chunk_bytes = 0
        self._chunk_since = 0.0
        self._pulled = 0
        self._taken = 0
        self._exhausted = False
        self._quick = True
        self._fill(*((sys.maxsize, float("inf")) if eager else (_FIRST_CHUNK, _CHUNK_AGE_S)))
        if not self._exhausted:
            self._flush(last=False)

    def step(self) -> Result | None:
        """The next result in order, or None: there is nothing to do but wait for news, or it is over and closed. Raises the
        map's failure."""
        while not self.is_closed:
            result = self._take()
            if result is not None:
                if self._quick:
                    self._fill(_TOP_UP, _CHUNK_AGE_S)
                return result
            if self._exhausted and self._taken >= self._pulled:
                self.is_closed = True
            elif self._may_pull():
                self._fill(1, _CHUNK_AGE_S)
            else:
                self._flush(last=False)
                return None
        return None

    def value(self, result: Result) -> T:
        value, error = decode(result, self._name)
        if error is None:
            return value  # type: ignore[no-any-return]
        if self._on_error is not None:
            self._on_error(error)
        if self._return_exceptions:
            return error  # type: ignore[return-value]
        self.close()
        raise error

    def has_news(self) -> bool:
        return self._taken in self.feed.ended or self.feed.error is not None

    def has_all(self) -> bool:
        """Every item has ended, whether taken or not, or none will."""
        feed = self.feed
        return self.is_closed or feed.error is not None or (self._exhausted and feed.received >= self._pulled)

    def fail(self, error: BaseException) -> None:
        """From any thread: what has not ended is cancelled, and whoever takes its result gets this error."""
        self.feed.fail(error)
        self._cancel()

    def time_out(self) -> TimeoutError:
        self.close()
        return TimeoutError(f"{self._name}: the map's results did not all come in time; the rest is cancelled")

    def close(self) -> None:
        """Cancel what has not ended. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        if not (self._exhausted and self._taken >= self._pulled):
            self._cancel()

    def _cancel(self) -> None:
        try:
            self._engine.post(self.feed.cancel)
        except TaskError:  # the session is closed, which has cancelled it
            return

    # --- taking out ------------------------------------------------------------------------------------------------------

    def _take(self) -> Result | None:
        with self.feed.changed:
            result = self.feed.ended.pop(self._taken, None)
            error = self.feed.error
        if result is None and error is not None:
            self.close()
            raise error
        if result is not None:
            self._taken += 1
        return result

    # --- putting in --------------------------------------------------------------------------------------------------------

    def _may_pull(self) -> bool:
        return not self._exhausted and self._pulled - self._taken < self._window()

    def _window(self) -> int:
        feed = self.feed
        if self._eager:
            return sys.maxsize
        if not feed.received_bytes:
            return WINDOW
        return min(WINDOW, max(_SMALLEST_WINDOW, _WINDOW_BYTES * feed.received // feed.received_bytes))

    def _fill(self, count: int, seconds: float) -> None:
        """Pull and pickle up to `count` items, no longer than about that; full or old chunks leave."""
        began = now = time.monotonic()
        while count > 0 and self._may_pull():
            count -= 1
            asked = now
            try:
                item = next(self._items)
            except StopIteration:
                self._exhausted = True
                self._flush(last=True)
                return
            except BaseException:
                self.close()
                raise
            now = time.monotonic()
            if not self._chunk:
                self._chunk_since = now
            self._chunk.append(item)
            self._chunk_bytes += len(item)
            self._pulled += 1
            self._quick = now - asked < _QUICK_S
            if (
                len(self._chunk) >= _CHUNK
                or self._chunk_bytes >= _CHUNK_BYTES
                or now - self._chunk_since > _CHUNK_AGE_S
                or not self._quick
            ):
                self._flush(last=False)
            if now - began > seconds:
                return

    def _flush(self, *, last: bool) -> None:
        if not self._chunk and not (last and self._pulled):
            return
        chunk = Chunk(tuple(self._chunk), last)
        self._chunk, self._chunk_bytes = [], 0
        feed = self.feed
        self._engine.post(lambda connection: feed.put(connection, chunk))


class MapIterator(Iterator[T], Generic[T]):
    """Results in the order of the items. Closing it, or dropping it, cancels what has not ended."""

    def __init__(
        self,
        engine: Engine,
        items: Iterator[bytes],
        submit: Submit,
        *,
        name: str,
        return_exceptions: bool = False,
        timeout: float | None = None,
        eager: bool = False,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._console = engine.console
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._window: MapWindow[T] = MapWindow(
            engine, items, submit, name=name, return_exceptions=return_exceptions, eager=eager, on_error=on_error
        )

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        window = self._window
        while not window.is_closed:
            result = window.step()
            if result is not None:
                self._console.flush()
                return window.value(result)
            if not window.is_closed:
                self._wait()
        raise StopIteration

    def close(self) -> None:
        """Cancel what has not ended. Idempotent."""
        self._window.close()

    def wait(self) -> None:
        """Until every item has ended, taken or not."""
        with self._window.feed.changed:
            self._window.feed.changed.wait_for(self._window.has_all)

    def has_all(self) -> bool:
        return self._window.has_all()

    def fail(self, error: BaseException) -> None:
        """From any thread: what has not ended is cancelled, and whoever takes its result gets this error."""
        self._window.fail(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        window = getattr(self, "_window", None)
        if window is not None:
            window.close()

    def _wait(self) -> None:
        left = None if self._deadline is None else self._deadline - time.monotonic()
        window, changed = self._window, self._window.feed.changed
        with changed:
            if left is None or left > 0:
                changed.wait_for(window.has_news, left)
                left = None if self._deadline is None else self._deadline - time.monotonic()
            timed_out = not window.has_news() and left is not None and left <= 0
        if timed_out:
            raise window.time_out()
