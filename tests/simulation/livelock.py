"""Steps without end at one instant, or one step without end: who takes them is named, instead of a run that never ends."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tests.simulation.callbacks import Callback

MOST_STEPS = 100_000
"""At one instant. The busiest of sound runs take a few thousand."""
_INSTANT_S = 0.001
"""Time that creeps stands still as well."""
LONGEST_STEP_S = 20.0
"""Of CPU time. The longest sound ones take a few milliseconds."""
_WATCHED = 1_000
_TOLD = 8


class Livelock(KeyboardInterrupt):
    """Time stands still, because something is always ready. Of the kind that ends a loop whoever raises it."""


class Stepping(Protocol):
    steps: int
    """How many have begun."""


@contextmanager
def ending_steps(loop: Stepping, longest_s: float = LONGEST_STEP_S) -> Iterator[None]:
    """A single step that takes so long raises Livelock where it is. Only a main thread can be interrupted so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen = -1

    def look(*_: object) -> None:
        nonlocal seen
        if loop.steps == seen:
            raise Livelock(f"step {seen} has taken more than {longest_s:g} s of CPU time")
        seen = loop.steps

    before = signal.signal(signal.SIGVTALRM, look)
    signal.setitimer(signal.ITIMER_VIRTUAL, longest_s, longest_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


class Watch:
    """What is ready, looked at for a while after too many steps at one instant."""

    def __init__(self) -> None:
        self._instant = -1.0
        self._began = 0
        self._looks = 0
        self._seen: Counter[str] = Counter()

    def look(self, now: float, steps: int, ready: Iterable[Callback]) -> None:
        """Before each turn of the loop. Raises Livelock."""
        if now > self._instant + _INSTANT_S:
            self._instant, self._began, self._looks = now, steps, 0
            self._seen.clear()
        elif steps - self._began > MOST_STEPS:
            self._seen.update(_name(one) for one in ready if not one.is_cancelled)
            self._looks += 1
            if self._looks == _WATCHED:
                told = "".join(f"\n  {count} × {name}" for name, count in self._seen.most_common(_TOLD))
                raise Livelock(f"{steps - self._began} steps at {now:.6f} s; ready in the last {_WATCHED} turns:{told}")


def _name(callback: Callback) -> str:
    owner = getattr(callback.call, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return _where(owner.get_coro())
    return getattr(callback.call, "__qualname__", repr(callback.call))


def _where(coroutine: Any) -> str:
    """The coroutine, and what it waits in."""
    outer = coroutine.__qualname__
    while isinstance(inner := getattr(coroutine, "cr_await", None), type(coroutine)):
        coroutine = inner
    frame = getattr(coroutine, "cr_frame", None)
    line = f":{frame.f_lineno}" if frame is not None else ""
    return f"{outer}, in {coroutine.__qualname__}{line}"
