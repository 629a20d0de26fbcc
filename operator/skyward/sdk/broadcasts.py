"""A call on every ready node: all results by rank, or the first failure."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from skyward.client.tasks import FollowedTask, TaskConnection
from skyward.errors import SkyError, TaskError
from skyward.sdk.engine import Engine
from skyward.sdk.futures import nothing, unless_over
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import SUCCEEDED, Output, Result


class BroadcastFollower:
    """`outcome` gets every rank's result in order, or the first that failed alone: the others are then cancelled, since
    ranks that wait for each other would wait for ever. All but `outcome` on the loop."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.outcome: Future[list[Result]] = Future()
        self._engine = engine
        self._name = name
        self._connection: TaskConnection | None = None
        self._task: FollowedTask | None = None
        self._results: dict[int, Result] = {}
        self._cancelled = False
        self._unregister = nothing

    def values(self) -> list[Any]:
        """By rank, once `outcome` is there. Raises the failure in it. Not on the loop: this unpickles."""
        values = []
        for result in self.outcome.result(0):
            value, error = decode(result, self._name)
            if error is not None:
                raise error
            values.append(value)
        return values

    def begin(self, connection: TaskConnection) -> None:
        self._connection = connection
        self._unregister = self._engine.on_close(self._closed)

    def cancel(self, connection: TaskConnection) -> None:
        self._cancelled = True
        if self._task is not None:
            connection.cancel(self._task)

    def accepted(self, task: FollowedTask) -> None:
        self._task = task
        if self._cancelled and self._connection is not None:
            self._connection.cancel(task)

    def results(self, results: Sequence[Result]) -> None:
        for result in results:
            self._engine.console.end(result.task, result.item)
            self._results[result.item] = result
            if result.outcome != SUCCEEDED and not self.outcome.done():
                self._finish([result])
                if self._connection is not None:
                    self.cancel(self._connection)
        if self._task is not None and len(self._results) >= self._task.items:
            self._unregister()
            self._finish([self._results[rank] for rank in sorted(self._results)])

    def output(self, outputs: Sequence[Output]) -> None:
        self._engine.console.write(outputs)

    def failed(self, error: SkyError) -> None:
        self._unregister()
        self._engine.fail(self._fail, error)

    def _finish(self, results: list[Result]) -> None:
        unless_over(lambda: self.outcome.set_result(results))

    def _fail(self, error: SkyError) -> None:
        unless_over(lambda: self.outcome.set_exception(error))

    def _closed(self) -> None:
        self._fail(TaskError("the session was closed before the broadcast ended"))
