"""`map`: one task with many items, fed from the caller's iterator as results are taken out. Endless iterators are fine.

The caller's thread does all that is the caller's: it pulls the iterator, pickles the items and unpickles the results.
The loop's thread only moves bytes. The two meet in `_Feed`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from skyward.client.tasks import FollowedTask, Follower, TaskConnection
from skyward.errors import SkyError, TaskError
from skyward.sdk.engine import Engine
from skyward.sdk.futures import nothing
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import Output, Result

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

Submit = Callable[[TaskConnection, tuple[bytes, ...], bool, Follower], None]
"""Make the task: (connection, first items, more follow, follower)."""


@dataclass(slots=True)
class _Chunk:
    items: tuple[bytes, ...]
    last: bool


class _Feed:
    """The loop's half: sends chunks in order, and keeps results until they are taken."""

    def __init__(self, engine: Engine, submit: Submit) -> None:
        self.changed = threading.Condition()
        self.ended: dict[int, Result] = {}
        self.received = 0
        self.received_bytes = 0
        self.error: BaseException | None = None
        self._engine = engine
        self._submit = submit
        self._connection: TaskConnection | None = None
        self._task: FollowedTask | None = None
        self._chunks: deque[_Chunk] = deque()
        self._sent = 0
        self._cancelled = False
        self._unregister = nothing

    def put(self, connection: TaskConnection, chunk: _Chunk) -> None:
        if self._cancelled:
            return
        if self._connection is None:
            self._connection = connection
            self._unregister = self._engine.on_close(self._closed)
            self._sent = len(chunk.items)
            self._submit(connection, chunk.items, not chunk.last, self)
            return
        self._chunks.append(chunk)
        self._send_chunks()

    def cancel(self, connection: TaskConnection) -> None:
        self._unregister()
        self._cancelled = True
        self._chunks.clear()
        if self._task is not None:
            connection.cancel(self._task)
            connection.forget(self._task)

    def _send_chunks(self) -> None:
        while self._chunks and self._task is not None and self._connection is not None:
            chunk = self._chunks.popleft()
            self._connection.extend(self._task, self._sent, chunk.items, last=chunk.last)
            self._sent += len(chunk.items)

    def accepted(self, task: FollowedTask) -> None:
        self._task = task
        if self._cancelled and self._connection is not None:
            self.cancel(self._connection)
        self._send_chunks()

    def results(self, results: Sequence[Result]) -> None:
        for result in results:
            self._engine.console.end(result.task, result.item)
        with self.changed:
            for result in results:
                self.ended[result.item] = result
                self.received += 1
                self.received_bytes += len(result.value)
            self.changed.notify_all()
        task = self._task
        if task is not None and not task.is_open and self.received >= task.items:
            self._unregister()

    def output(self, outputs: Sequence[Output]) -> None:
        self._engine.console.write(outputs)

    def failed(self, error: SkyError) -> None:
        self._unregister()
        self._engine.fail(self._fail, error)

    def _fail(self, error: BaseException) -> None:
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()

    def _closed(self) -> None:
        """An open map can never end without its feeder: it is cancelled, not left behind."""
        if self._connection is not None:
            self.cancel(self._connection)
        self._fail(TaskError("the session was closed before the map ended; its remaining items are cancelled"))


class MapIterator(Iterator[T], Generic[T]):
    """Results in the order of the items. Closing it, or dropping it, cancels what has not ended."""

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
        self._engine = engine
        self._items = items
        self._name = name
        self._return_exceptions = return_exceptions
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._feed = _Feed(engine, submit)
        self._chunk: list[bytes] = []
        self._chunk_bytes = 0
        self._chunk_since = 0.0
        self._pulled = 0
        self._taken = 0
        self._exhausted = False
        self._quick = True
        self._closed = False
        self._fill(_FIRST_CHUNK, _CHUNK_AGE_S)
        if not self._exhausted:
            self._flush(last=False)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while not self._closed:
            result = self._take()
            if result is not None:
                if self._quick:
                    self._fill(_TOP_UP, _CHUNK_AGE_S)
                return self._value(result)
            if self._exhausted and self._taken >= self._pulled:
                self._closed = True
            elif self._may_pull():
                self._fill(1, _CHUNK_AGE_S)
            else:
                self._flush(last=False)
                self._wait()
        raise StopIteration

    def close(self) -> None:
        """Cancel what has not ended. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._exhausted and self._taken >= self._pulled:
            return
        try:
            self._engine.post(self._feed.cancel)
        except TaskError:  # the session is closed, which has cancelled it
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    # --- taking out ------------------------------------------------------------------------------------------------------

    def _take(self) -> Result | None:
        with self._feed.changed:
            result = self._feed.ended.pop(self._taken, None)
            error = self._feed.error
        if result is None and error is not None:
            self.close()
            raise error
        if result is not None:
            self._taken += 1
        return result

    def _value(self, result: Result) -> T:
        self._engine.console.flush()
        value, error = decode(result, self._name)
        if error is None:
            return value  # type: ignore[no-any-return]
        if self._return_exceptions:
            return error  # type: ignore[return-value]
        self.close()
        raise error

    def _wait(self) -> None:
        left = None if self._deadline is None else self._deadline - time.monotonic()
        with self._feed.changed:
            if left is None or left > 0:
                self._feed.changed.wait_for(self._has_news, left)
                left = None if self._deadline is None else self._deadline - time.monotonic()
            timed_out = not self._has_news() and left is not None and left <= 0
        if timed_out:
            self.close()
            raise TimeoutError(f"{self._name}: the map's results did not all come in time; the rest is cancelled")

    def _has_news(self) -> bool:
        return self._taken in self._feed.ended or self._feed.error is not None

    # --- putting in --------------------------------------------------------------------------------------------------------

    def _may_pull(self) -> bool:
        return not self._exhausted and self._pulled - self._taken < self._window()

    def _window(self) -> int:
        feed = self._feed
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
        chunk = _Chunk(tuple(self._chunk), last)
        self._chunk, self._chunk_bytes = [], 0
        feed = self._feed
        self._engine.post(lambda connection: feed.put(connection, chunk))
