"""Futures of remote calls: real `concurrent.futures.Future`s whose value is unpickled by the thread that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from skyward.client.tasks import FollowedTask, TaskConnection
from skyward.errors import SkyError, TaskError
from skyward.sdk.engine import Engine
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import CANCELLED, SUCCEEDED, Output, Result

T = TypeVar("T")


class TaskFuture(Future[T]):
    """One call. `cancel` takes effect here at once and stops the call on its node soon after."""

    def __init__(self, engine: Engine, name: str) -> None:
        super().__init__()
        self._engine = engine
        self._name = name
        self._follower = self._follow()
        self._outcome: tuple[Any, BaseException | None] | None = None

    def _follow(self) -> RunFollower:
        return RunFollower(self._engine, self)

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
        value, error = self._decoded(raw)
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def outcome(self) -> tuple[Any, BaseException | None]:
        """(value, None) or (None, exception) of a call that is over; never waits, not even for its output to be shown."""
        error = super().exception(0)
        return (None, error) if error is not None else self._decoded(super().result(0))

    def task_id(self, timeout: float | None = None) -> str:
        """Under which `session.task` finds the call again, from any process. Waits until the operator has it on record; raises
        the call's own error when it never will."""
        return self._follower.uid().result(timeout)

    def cancel_waiting(self) -> None:
        """Cancel the call unless it runs on a node: the operator decides, and the future ends when it has."""
        try:
            self._engine.post(self._follower.cancel_waiting)
        except TaskError:  # the session is closed, which has ended the future
            return

    def give_up(self, error: BaseException) -> None:
        """End with this error now, and stop the call on its node."""
        self.fail(error)
        try:
            self._engine.post(self._follower.cancel)
        except TaskError:
            return

    def exception(self, timeout: float | None = None) -> BaseException | None:
        error = super().exception(timeout)
        return error if error is not None else self._decoded(super().result(0))[1]

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """As in the standard library, but never on the thread that carries everybody's results."""
        super().add_done_callback(lambda future: self._call_back(fn, future))

    def _call_back(self, fn: Callable[[Future[T]], object], future: Future[T]) -> None:
        if self._engine.is_own_thread:
            self._engine.call_back(lambda: fn(future))
        else:
            fn(future)

    def _decoded(self, raw: Any) -> tuple[Any, BaseException | None]:
        with self._condition:
            if self._outcome is None:
                self._outcome = self._decode(raw)
                self._result = None  # the bytes are no longer needed
            return self._outcome

    def _decode(self, raw: Any) -> tuple[Any, BaseException | None]:
        return decode(raw, self._name)

    # --- what its follower does, once ------------------------------------------------------------------------------------

    def settle(self, result: Result) -> None:
        if result.outcome == SUCCEEDED:
            unless_over(lambda: self.set_result(result))  # type: ignore[arg-type]
        elif result.outcome == CANCELLED and self._follower.is_withdrawn:
            if super().cancel():
                self.set_running_or_notify_cancel()
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
        self.is_withdrawn = False
        """Its caller wants it cancelled if it does not run yet."""
        self._error: SkyError | None = None
        self._asked_uid: list[Future[str]] = []
        self._unregister = nothing
        self.answered = nothing
        """The operator has it on record, or never will."""

    def begin(self, submit: Callable[[TaskConnection], None], size: int) -> Callable[[TaskConnection], None]:
        """`submit`, unless the future was cancelled before the loop got to it. Waits while too much is unanswered."""
        unanswered = self._engine.unanswered
        unanswered.enter(size)

        def answered() -> None:
            self.answered = nothing
            unanswered.leave(size)

        def begin(connection: TaskConnection) -> None:
            if self._future.done():
                self.answered()
                return
            self._connection = connection
            self._unregister = self._engine.on_close(self._closed)
            submit(connection)

        self.answered = answered
        return begin

    def cancel(self, connection: TaskConnection) -> None:
        self._cancelled = True
        if self._task is not None:
            connection.cancel(self._task)

    def cancel_waiting(self, connection: TaskConnection) -> None:
        self.is_withdrawn = True
        if self._task is not None:
            connection.cancel(self._task, waiting_only=True)

    def uid(self) -> Future[str]:
        """The task's, once it has one. From any thread."""
        asked: Future[str] = Future()

        def ask(_: TaskConnection) -> None:
            self._asked_uid.append(asked)
            self._tell_uid()

        self._engine.post(ask)
        return asked

    def _tell_uid(self) -> None:
        if self._task is None and self._error is None and not self._future.done():
            return
        asked, self._asked_uid = self._asked_uid, []
        for one in asked:
            if self._task is not None:
                one.set_result(self._task.uid)
            elif self._error is not None:
                one.set_exception(self._error)
            else:
                one.cancel()

    def accepted(self, task: FollowedTask) -> None:
        self.answered()
        self._task = task
        if self._cancelled and self._connection is not None:
            self._connection.cancel(task)
        elif self.is_withdrawn and self._connection is not None:
            self._connection.cancel(task, waiting_only=True)
        self._tell_uid()

    def results(self, results: Sequence[Result]) -> None:
        self._unregister()
        for result in results:
            self._engine.console.end(result.task, result.item)
            self._future.settle(result)

    def output(self, outputs: Sequence[Output]) -> None:
        if not self._cancelled:
            self._engine.console.write(outputs)

    def failed(self, error: SkyError) -> None:
        self.answered()
        self._unregister()
        self._error = error
        self._tell_uid()
        self._engine.fail(self._future.fail, error)

    def _closed(self) -> None:
        self.answered()
        self._error = TaskError("the session was closed before the call ended; it goes on without a listener")
        self._tell_uid()
        self._future.fail(self._error)


def nothing() -> None:
    return None


def unless_over(change: Callable[[], None]) -> None:
    try:
        change()
    except InvalidStateError:  # cancelled meanwhile
        return
