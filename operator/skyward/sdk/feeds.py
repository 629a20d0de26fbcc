"""The loop's half of a map: sends what it is given in order, and keeps results until they are taken.

The caller's half pulls the iterator, pickles the items and unpickles the results; the two meet in a `Feed`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skyward.client.tasks import FollowedTask, Follower, TaskConnection
from skyward.errors import SkyError, TaskError
from skyward.sdk.engine import Engine
from skyward.sdk.futures import nothing
from skyward_agent.wire.messages import Output, Result

Submit = Callable[[TaskConnection, tuple[bytes, ...], bool, Follower], None]
"""Make the task: (connection, first items, more follow, follower)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    items: tuple[bytes, ...]
    last: bool


class Feed:
    """`put` and `cancel` are posted to the loop; what is read from other threads is guarded by `changed`."""

    def __init__(self, engine: Engine, submit: Submit, wake: Callable[[], None] = nothing) -> None:
        """`wake` is called on the engine's threads whenever there is news."""
        self.changed = threading.Condition()
        self.ended: dict[int, Result] = {}
        self.received = 0
        self.received_bytes = 0
        self.error: BaseException | None = None
        self._engine = engine
        self._submit = submit
        self._wake = wake
        self._connection: TaskConnection | None = None
        self._task: FollowedTask | None = None
        self._chunks: deque[Chunk] = deque()
        self._sent = 0
        self._cancelled = False
        self._unregister = nothing

    def put(self, connection: TaskConnection, chunk: Chunk) -> None:
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
        self._wake()
        task = self._task
        if task is not None and not task.is_open and self.received >= task.items:
            self._unregister()

    def output(self, outputs: Sequence[Output]) -> None:
        self._engine.console.write(outputs)

    def failed(self, error: SkyError) -> None:
        self._unregister()
        self._engine.fail(self.fail, error)

    def fail(self, error: BaseException) -> None:
        """From any thread: whoever waits for results gets this instead; the first error stays."""
        with self.changed:
            self.error = self.error or error
            self.changed.notify_all()
        self._wake()

    def _closed(self) -> None:
        """An open map can never end without its feeder: it is cancelled, not left behind."""
        if self._connection is not None:
            self.cancel(self._connection)
        self.fail(TaskError("the session was closed before the map ended; its remaining items are cancelled"))
