"""A generator function on a node, iterated over here: values come as they are made, some ahead of who takes them, no more.

A slow loop pauses the function; leaving the loop stops it. What was lost with a connection comes again. A function whose node
is lost after it yielded is not begun anew: nobody could tell where it would go on.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

from skyward.client.payloads import load
from skyward.client.tasks import FollowedTask, TaskConnection
from skyward.errors import NodeLost, SkyError, TaskError
from skyward.sdk.engine import Engine
from skyward.sdk.functions import RemoteFunction
from skyward.sdk.futures import nothing
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import Output, Result, Yield

T = TypeVar("T")

AHEAD = 16
"""Values that may be made before they are taken."""


def is_stream(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a generator."""
    local = function.local if isinstance(function, RemoteFunction) else function
    return inspect.isgeneratorfunction(local) or inspect.isasyncgenfunction(local)


class StreamFollower:
    """The loop's half. `news` is called on the loop whenever `take` may give something else."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.news: Callable[[], None] = nothing
        self._engine = engine
        self._name = name
        self._lock = threading.Lock()
        self._values: dict[int, bytes] = {}
        self._attempt = 0
        self._taken = 0
        self._asked = 0
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._connection: TaskConnection | None = None
        self._task: FollowedTask | None = None
        self._is_closed = False
        self._unregister = nothing

    # --- who iterates, on any thread ----------------------------------------------------------------------------------

    def take(self) -> tuple[bool, Any]:
        """(True, value), or (False, None) when none is there yet. Raises what ends the stream: StopIteration with what the
        function returned, or its error."""
        with self._lock:
            value = self._values.pop(self._taken, None)
            if value is not None:
                self._taken += 1
            is_due = value is not None and (not self._values or self._taken + AHEAD >= self._asked + AHEAD // 2)
        if value is not None:
            if is_due:
                self._post(self._demand)
            self._engine.console.flush()
            return True, load(value)
        if self._error is not None:
            raise self._error
        if self._result is not None:
            self._engine.console.flush()
            returned, error = decode(self._result, self._name)
            raise StopIteration(returned) if error is None else error
        return False, None

    def close(self) -> None:
        """Stop the function, if it has not ended. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            if self._result is None and self._error is None:
                self._error = StopIteration()
                self._post(self.cancel)

    def _post(self, work: Callable[[TaskConnection], None]) -> None:
        try:
            self._engine.post(work)
        except TaskError:  # the session is closed, which has ended the stream
            return

    # --- the loop -------------------------------------------------------------------------------------------------------

    def begin(self, connection: TaskConnection) -> None:
        self._connection = connection
        self._unregister = self._engine.on_close(self._closed)

    def cancel(self, connection: TaskConnection) -> None:
        self._is_closed = True
        if self._task is not None:
            connection.cancel(self._task)

    def accepted(self, task: FollowedTask) -> None:
        self._task = task
        task.yielded = self._yielded
        if self._connection is not None:
            if self._is_closed:
                self._connection.cancel(task)
            else:
                self._demand(self._connection)

    def _demand(self, connection: TaskConnection) -> None:
        if self._task is not None and self._result is None:
            self._asked = self._taken + AHEAD
            connection.demand(self._task, self._taken, self._asked)

    def _yielded(self, made: Yield) -> None:
        with self._lock:
            is_anew = made.attempt > self._attempt
            if made.attempt < self._attempt or made.number < self._taken * (not is_anew):
                return
            if is_anew:
                self._values.clear()
                self._attempt = made.attempt
            if not (is_anew and self._taken):
                self._values[made.number] = made.value
        if is_anew and self._taken:
            self._fail(NodeLost(f"{self._name}: its attempt was lost after it had yielded {self._taken} values"))
            if self._connection is not None:
                self.cancel(self._connection)
        self.news()

    def results(self, results: Sequence[Result]) -> None:
        self._unregister()
        for result in results:
            self._engine.console.end(result.task, result.item)
            self._result = result
        self.news()

    def output(self, outputs: Sequence[Output]) -> None:
        if not self._is_closed:
            self._engine.console.write(outputs)

    def failed(self, error: SkyError) -> None:
        self._unregister()
        self._engine.fail(self._fail, error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.news()

    def _closed(self) -> None:
        """A stream whose taker is gone would wait for ever: it is stopped, not left behind."""
        if self._connection is not None:
            self.cancel(self._connection)
        self._fail(TaskError("the session was closed before the stream ended; its function is stopped"))


class Stream(Iterator[T], Generic[T]):
    """What a generator function yields. Closing it, or dropping it, stops the function."""

    def __init__(self, follower: StreamFollower) -> None:
        self._follower = follower
        self._changed = threading.Event()
        follower.news = self._changed.set  # not of this object, which is to go when the caller drops it

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            self._changed.clear()
            is_there, value = self._follower.take()
            if is_there:
                return value  # type: ignore[no-any-return]
            self._changed.wait()

    def close(self) -> None:
        self._follower.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class AsyncStream(AsyncIterator[T], Generic[T]):
    """The same for `async for`."""

    def __init__(self, follower: StreamFollower) -> None:
        self._follower = follower
        self._changed = asyncio.Event()
        follower.news = functools.partial(_tell, asyncio.get_running_loop(), self._changed)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            self._changed.clear()
            try:
                is_there, value = self._follower.take()
            except StopIteration:
                raise StopAsyncIteration from None
            if is_there:
                return value  # type: ignore[no-any-return]
            await self._changed.wait()

    async def aclose(self) -> None:
        self._follower.close()

    def __del__(self) -> None:
        self._follower.close()


def _tell(loop: asyncio.AbstractEventLoop, changed: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(changed.set)
    except RuntimeError:  # the caller's loop is closed: nobody waits
        return
