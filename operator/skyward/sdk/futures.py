"""Futures of remote calls: real `concurrent.futures.Future`s whose value is unpickled by the thread that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from skyward.client.tasks import FollowedTask, TaskConnection
from skyward.errors import SkyError, TaskError
from skyward.sdk.engine import Engine
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import SUCCEEDED, Output, Result

T = TypeVar("T")


class TaskFuture(Future[T]):
    """One call. `cancel` takes effect here at once and stops the call on its node soon after."""

    def __init__(self, engine: Engine, name: str) -> None:
        super().__init__()
        self._engine = engine
        self._name = name
        self._follower = RunFollower(engine, self)
        self._outcome: tuple[Any, BaseException | None] | None = None

    @property
    def follower(self) -> RunFollower:
        return self._follower

    def cancel(self) -> bool:
        with self._condition:
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            self.set_running_or_notify_cancel()
        try:
            self._engine.post(self._follower.cancel)
        except TaskError:  # the session is closed: what runs is no longer ours to stop
            pass
        return True

    def result(self, timeout: float | None = None) -> T:
        raw: Any = super().result(timeout)
        self._engine.console.flush()
        value, error = self._decode(raw)
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = super().exception(timeout)
        return error if error is not None else self._decode(super().result(0))[1]

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """As in the standard library, but never on the thread that carries everybody's results."""
        super().add_done_callback(lambda future: self._call_back(fn, future))

    def _call_back(self, fn: Callable[[Future[T]], object], future: Future[T]) -> None:
        if self._engine.is_own_thread:
            self._engine.call_back(lambda: fn(future))
        else:
            fn(future)

    def _decode(self, raw: Any) -> tuple[Any, BaseException | None]:
        with self._condition:
            if self._outcome is None:
                self._outcome = decode(raw, self._name)
                self._result = None  # the bytes are no longer needed
            return self._outcome

    # --- what its follower does, once ------------------------------------------------------------------------------------

    def settle(self, result: Result) -> None:
        if result.outcome == SUCCEEDED:
            unless_over(lambda: self.set_result(result))  # type: ignore[arg-type]
        else:
            self._engine.call_back(lambda: self.fail(decode(result, self._name)[1] or TaskError(result.outcome)))

    def fail(self, error: BaseException) -> None:
        unless_over(lambda: self.set_exception(error))


class RunFollower:
    """Follows a task of one item for a TaskFuture. All on the loop."""

    def __init__(self, engine: Engine, future: TaskFuture[Any]) -> None:
        self._engine = engine
        self._future = future
        self._connection: TaskConnection | None = None
        self._task: FollowedTask | None = None
        self._cancelled = False
        self._unregister = nothing

    def begin(self, submit: Callable[[TaskConnection], None]) -> Callable[[TaskConnection], None]:
        """`submit`, unless the future was cancelled before the loop got to it."""

        def begin(connection: TaskConnection) -> None:
            if self._future.cancelled():
                return
            self._connection = connection
            self._unregister = self._engine.on_close(self._closed)
            submit(connection)

        return begin

    def cancel(self, connection: TaskConnection) -> None:
        self._cancelled = True
        if self._task is not None:
            connection.cancel(self._task)

    def accepted(self, task: FollowedTask) -> None:
        self._task = task
        if self._cancelled and self._connection is not None:
            self._connection.cancel(task)

    def results(self, results: Sequence[Result]) -> None:
        self._unregister()
        for result in results:
            self._engine.console.end(result.task, result.item)
            self._future.settle(result)

    def output(self, outputs: Sequence[Output]) -> None:
        if not self._cancelled:
            self._engine.console.write(outputs)

    def failed(self, error: SkyError) -> None:
        self._unregister()
        self._engine.fail(self._future.fail, error)

    def _closed(self) -> None:
        self._future.fail(TaskError("the session was closed before the call ended; it goes on without a listener"))


def nothing() -> None:
    return None


def unless_over(change: Callable[[], None]) -> None:
    try:
        change()
    except InvalidStateError:  # cancelled meanwhile
        return
