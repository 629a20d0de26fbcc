"""A gateway and agents on a thread of their own, for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import cloudpickle

from skyward.sdk.session import Session
from skyward_agent.wire.messages import (
    CHILD_DIED,
    FAILED,
    NOT_UNPICKLABLE,
    RESULT_NOT_PICKLABLE,
    SUCCEEDED,
    Failure,
    Lease,
    Report,
)
from tests.gateway.world import FakeAgent, World

T = TypeVar("T")
Write = Callable[[str, bytes], None]
Work = Callable[[Lease, bytes, Write], Coroutine[Any, Any, Report]]

_place: contextvars.ContextVar[tuple[Lease, Write]] = contextvars.ContextVar("place")


def rank() -> int:
    return _place.get()[0].rank


def variable(name: str) -> str:
    return _place.get()[0].env[name]


def timeout_of() -> float | None:
    return _place.get()[0].timeout_s


def emit(text: str, stream: str = "stdout") -> None:
    """What `print` is in a real child process."""
    _place.get()[1](stream, text.encode())


async def run_in_thread(lease: Lease, function: bytes, write: Write) -> Report:
    loop = asyncio.get_running_loop()

    def write_soon(stream: str, data: bytes) -> None:
        loop.call_soon_threadsafe(write, stream, data)

    token = _place.set((lease, write_soon))
    try:
        return await asyncio.to_thread(_execute, lease, function)
    finally:
        _place.reset(token)


def _execute(lease: Lease, function: bytes) -> Report:
    """What a child process does with a lease."""
    try:
        call = pickle.loads(function)
        args, kwargs = pickle.loads(lease.arguments)
    except Exception as error:
        return Report(lease.id, NOT_UNPICKLABLE, failure=Failure(type(error).__name__, str(error)))
    try:
        value = call(*args, **kwargs)
    except SystemExit as error:
        return Report(
            lease.id, CHILD_DIED, failure=Failure(CHILD_DIED, "it exited", evidence={"exit code": str(error.code)})
        )
    except Exception as error:
        failure = Failure(type(error).__qualname__, str(error), traceback.format_exc(), _try_pickle(error))
        return Report(lease.id, FAILED, failure=failure)
    try:
        return Report(lease.id, SUCCEEDED, value=cloudpickle.dumps(value))
    except Exception as error:
        return Report(lease.id, RESULT_NOT_PICKLABLE, failure=Failure(type(error).__name__, str(error)))


def _try_pickle(error: Exception) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:
        return b""


class ThreadedWorld:
    def __init__(self, work: Work = run_in_thread) -> None:
        self.world = World()
        self._work = work
        self.agents: list[FakeAgent] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-world")

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def start(
        self, nodes: int, lanes: int, prepare: Callable[[World], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        self._thread.start()
        if prepare is not None:
            self.do(prepare(self.world))
        self.do(self.world.start())
        for index in range(nodes):
            self.do(self._add_agent(f"node-{index}", lanes))

    async def _add_agent(self, name: str, lanes: int) -> None:
        uid = self.world.add_node(name)
        self.agents.append(FakeAgent(self.world, uid, self._work, lanes=lanes).start())

    def restart_gateway(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.do(self.world.stop())
        meanwhile()
        self.do(self.world.start())

    def session(self, **options: Any) -> Session:
        return Session(self.world.config(), **options)

    def stop(self) -> None:
        self.stop_world()
        self.stop_loop()

    def stop_world(self) -> None:
        for agent in self.agents:
            self.do(agent.stop())
        self.do(self.world.stop())

    def stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@contextmanager
def threaded_world(nodes: int = 1, lanes: int = 2) -> Iterator[ThreadedWorld]:
    world = ThreadedWorld()
    world.start(nodes, lanes)
    try:
        yield world
    finally:
        world.stop()
