"""What waits on the simulated loop: like asyncio's handles, with nothing in them that only a real loop needs."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any


class Callback:
    """What `call_soon` gives."""

    __slots__ = ("args", "call", "context", "is_cancelled")

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...], context: contextvars.Context | None) -> None:
        self.call = call
        self.args = args
        self.context = context if context is not None else contextvars.copy_context()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.call, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    @property
    def owner(self) -> int:
        """The number of the task whose step this is; 0 for all plain callbacks."""
        return getattr(getattr(self.call, "__self__", None), "number", 0)


class Timer(Callback):
    """What `call_at` gives."""

    __slots__ = ("_due", "_tell")

    def __init__(
        self,
        due: float,
        call: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        tell: Callable[[], None],
    ) -> None:
        """`tell` is called when it is cancelled; one that is due no more has nothing to tell."""
        super().__init__(call, args, context)
        self._due = due
        self._tell = tell

    def when(self) -> float:
        return self._due

    def cancel(self) -> None:
        if not self.is_cancelled:
            super().cancel()
            self._tell()


def _nothing() -> None:
    return None
