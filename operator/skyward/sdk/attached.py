"""Futures of tasks that were submitted elsewhere, or earlier: by another program, or by one that is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skyward.sdk.engine import Engine
from skyward.sdk.futures import RunFollower, TaskFuture, unless_over
from skyward.sdk.outcomes import decode
from skyward_agent.wire.messages import SUCCEEDED, Result


class AttachedFuture(TaskFuture[Any]):
    """Ends with the result of a task of one call; of a map or broadcast with the list of all results, or the first failure in
    their order."""

    def __init__(self, engine: Engine, uid: str) -> None:
        super().__init__(engine, f"task {uid}")

    def _follow(self) -> RunFollower:
        return AttachedFollower(self._engine, self)

    def end(self, mode: str, results: Sequence[Result]) -> None:
        """All of them are there, by item."""
        failed = next((result for result in results if result.outcome != SUCCEEDED), None)
        if failed is not None:
            self.settle(failed)
        else:
            raw: Any = results[0] if mode == "run" else tuple(results)
            unless_over(lambda: self.set_result(raw))

    def _decode(self, raw: Any) -> tuple[Any, BaseException | None]:
        if not isinstance(raw, tuple):
            return decode(raw, self._name)
        values = []
        for result in raw:
            value, error = decode(result, self._name)
            if error is not None:
                return None, error
            values.append(value)
        return values, None


class AttachedFollower(RunFollower):
    """Keeps results until the last one is there."""

    _future: AttachedFuture

    def __init__(self, engine: Engine, future: AttachedFuture) -> None:
        super().__init__(engine, future)
        self._ended: dict[int, Result] = {}

    def results(self, results: Sequence[Result]) -> None:
        for result in results:
            self._engine.console.end(result.task, result.item)
            self._ended[result.item] = result
        task = self._task
        if task is not None and not task.is_open and len(self._ended) >= task.items:
            self._unregister()
            self._future.end(task.mode, [self._ended[item] for item in sorted(self._ended)])
