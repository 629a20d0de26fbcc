"""The thread behind a session: one event loop with the task connection, and one more thread for callers' callbacks.

Callers' threads hand work in with `post`; nothing of theirs ever runs on the loop, so a slow callback or a large pickle
delays no one else's result.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skyward.client.config import ClientConfig
from skyward.client.tasks import TaskConnection
from skyward.errors import SkyError, TaskError
from skyward.sdk.console import Console
from skyward.sdk.unanswered import Unanswered

_SETTLE_S = 2.0
_JOIN_S = 5.0

Post = Callable[[TaskConnection], None]


class Engine:
    def __init__(
        self, config: ClientConfig, *, python: str, reconnect_s: float, explain: Callable[[SkyError], SkyError]
    ) -> None:
        self.console = Console()
        self.unanswered = Unanswered()
        self._connection: TaskConnection | None = None
        self._config = config
        self._python = python
        self._reconnect_s = reconnect_s
        self._explain = explain
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._posts: deque[Post] = deque()
        self._posted = False
        self._closed = False
        self._failure: BaseException | None = None
        self._started = threading.Event()
        self._on_close: set[Callable[[], None]] = set()
        self._callbacks: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="skyward-tasks", daemon=True)

    def start(self) -> None:
        """Connect. Raises what the connection raises, at once."""
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Say what is still to say (cancels above all), hang up, and end the threads. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        loop, closing = self._loop, self._closing
        if loop is not None and closing is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(closing.set)
            self._thread.join(_JOIN_S)
        self.console.close()
        if self._callbacks is not None:
            self._callbacks.shutdown(wait=False)

    def post(self, work: Post) -> None:
        """Run on the loop soon, in order. Raises TaskError once the session is closed."""
        loop = self._loop
        if self._closed or loop is None:
            raise TaskError("the session is closed")
        self._posts.append(work)
        if not self._posted:
            # One wake-up for whatever is posted until the loop gets to it.
            self._posted = True
            try:
                loop.call_soon_threadsafe(self._take_posts)
            except RuntimeError:
                raise TaskError("the session is closed") from None

    @property
    def shared(self) -> Path | None:
        """The operator's shared directory, where this process sees it."""
        return None if self._connection is None else self._connection.shared

    def on_close(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call on the loop when the session closes; returns how to take it back. Loop thread only."""
        self._on_close.add(callback)
        return lambda: self._on_close.discard(callback)

    @property
    def is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def call_back(self, work: Callable[[], object]) -> None:
        """Run what may be slow or the caller's, off the loop, in order."""
        with self._lock:
            if self._callbacks is None:
                self._callbacks = ThreadPoolExecutor(1, thread_name_prefix="skyward-callbacks")
            try:
                self._callbacks.submit(work)
                return
            except RuntimeError:  # closing: there is no other thread left to run it
                pass
        work()

    def fail(self, callback: Callable[[SkyError], object], error: SkyError) -> None:
        """Give an error of the operator's to `callback`, completed with what only a look at its objects can tell."""
        self.call_back(lambda: callback(self._explain(error)))

    # --- the thread --------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self.unanswered.end()
            self._started.set()

    async def _serve(self) -> None:
        connection = TaskConnection(self._config, python=self._python, reconnect_s=self._reconnect_s)
        async with connection:
            self._closing = asyncio.Event()
            self._connection = connection
            self._loop = asyncio.get_running_loop()
            self._started.set()
            try:
                await self._closing.wait()
                self._take_posts()
            finally:
                # Nobody may wait for ever, whatever ended this thread.
                for callback in tuple(self._on_close):
                    callback()
            await connection.settle(_SETTLE_S)

    def _take_posts(self) -> None:
        # Cleared first: what is posted from now on wakes the loop again.
        self._posted = False
        connection = self._connection
        while self._posts and connection is not None:
            self._posts.popleft()(connection)
