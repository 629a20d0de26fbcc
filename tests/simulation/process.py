"""One operator process: what it may still do, and how it ends.

A death is the end of everything at one instant: from then on none of its callbacks runs, nothing it waits for comes, and
what it had not committed never was. Requests that it sent go on without it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from skyward.errors import SkyError
from skyward_agent.wire.connection import FrameConnection
from tests.simulation.loop import PROCESS, Mortal

if TYPE_CHECKING:
    from tests.simulation.wire import Connection

T = TypeVar("T")


class When(StrEnum):
    BEFORE = "before"
    """The call is never made."""
    EFFECT = "effect"
    """Its work is done and the answer never comes."""
    AFTER = "after"
    """The answer came, and nothing was done with it."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """The n-th seam call of a process, from 1; or any call of a name that comes to this point, where there is a name."""

    call: int
    when: When
    name: str = ""

    def is_at(self, call: int, name: str) -> bool:
        return name == self.name if self.name else call == self.call


class Process(Mortal):
    def __init__(self, number: int, *, crash_at: CrashPoint | None, on_death: Callable[[Process, str], None]) -> None:
        super().__init__()
        self.number = number
        self.calls = 0
        self.names: list[str] = []
        """Every seam call so far, by name; kept where a sweep asks for it."""
        self.crash_at = crash_at
        self.moments: dict[int, list[When]] | None = None
        """Where in each call it could have died; kept where a sweep asks for it. Then what it does to hosts and files is a seam
        call too, and an error is an answer."""
        self.is_stopping = False
        self.cause = ""
        self.task: asyncio.Task[None] | None = None
        self.parked: list[asyncio.Task[Any]] = []
        """The tasks of a dead process: a task that is let go would run its `finally`."""
        self.listener: Listener | None = None
        """Where agents reach it, once it listens."""
        self.connections: list[Connection] = []
        self._on_death = on_death
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self)

    def new_context(self) -> contextvars.Context:
        """For what happens in this process without one of its tasks having asked for it."""
        return self._context.copy()

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        main: Callable[[], Any],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """`ended` is called in the caller's name."""
        self.task = loop.create_task(main(), name=f"operator {self.number}", context=self._context)
        self.task.add_done_callback(lambda _: ended())

    def die(self, cause: str) -> None:
        if not self.dead:
            self.dead = True
            self.cause = cause
            self.parked = list(self.tasks)
            self._on_death(self, cause)

    def listen(self, accept: Callable[[], FrameConnection]) -> Listener:
        self.listener = Listener(accept)
        return self.listener

    async def ask(self, call: Callable[[], Awaitable[T]], seconds: float) -> tuple[bool, T | None]:
        """A client's call into this process: whether an answer came, and what it was. Raises what the call raised."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(_quietly(call), context=self.new_context())
        for _ in range(int(seconds * 4)):
            await asyncio.wait((task,), timeout=0.25)
            if task.done() or self.dead:
                break
        if not task.done():
            return False, None
        result, error = task.result()
        if error is not None:
            raise error
        return True, result

    # --- seams -------------------------------------------------------------------------------------------------------

    def enter(self, name: str) -> Callable[[When], bool]:
        """A seam call begins: what it returns tells whether the process dies at this point of it."""
        self.calls += 1
        number = self.calls
        self.names.append(name)

        def dies(when: When) -> bool:
            if self.moments is not None and not self.dead:
                self.moments.setdefault(number, []).append(when)
            point = self.crash_at
            if point is None or point.when is not when or not point.is_at(number, name):
                return False
            self.die(f"{when} {name} (call {number})")
            return True

        return dies

    def touch(self, name: str) -> Callable[[When], bool]:
        """It is about to change a host or a file: a seam call where those count."""
        return self.enter(name) if self.moments is not None else _never

    async def hear_error(self, dies: Callable[[When], bool]) -> None:
        """A call was answered with an error: where that counts as an answer it may be the last thing it hears."""
        if self.moments is not None and dies(When.AFTER):
            await self.halt()

    async def halt(self) -> None:
        """Where a dead process stays."""
        await asyncio.get_running_loop().create_future()


class Listener:
    """What `create_server` gives inside the simulation."""

    def __init__(self, accept: Callable[[], FrameConnection]) -> None:
        self.accept = accept
        self.sockets = (self,)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 7780)

    def close(self) -> None:
        return None


def _never(when: When) -> bool:
    return False


async def _quietly(call: Callable[[], Awaitable[T]]) -> tuple[T | None, SkyError | None]:
    """An error is an answer too, also to a client that no longer waits."""
    try:
        return await call(), None
    except SkyError as error:
        return None, error
