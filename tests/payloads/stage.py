"""A session, a gateway with a store for blobs, and real agents: payloads on all of their way."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from skyward.blobs.local import LocalBlobs
from skyward.sdk.pool import PoolHandle
from skyward.sdk.session import Session
from tests.agent.conftest import AgentHome
from tests.gateway.tls import make_tls
from tests.gateway.world import RealClock, World, until

T = TypeVar("T")
LIMIT = 256 * 2**20


class Apart(LocalBlobs):
    """As for clients and agents on other hosts: nobody sees its directory."""

    def shared(self) -> tuple[str, str]:
        return "", ""


class Stage:
    def __init__(self, directory: Path, *, is_shared: bool, limit: int = LIMIT) -> None:
        self.directory = directory
        self.root = directory / "payloads"
        self._limit = limit
        self._kind = LocalBlobs if is_shared else Apart
        self.world = World(blobs=self._blobs(), heartbeat_s=0.5)
        self.homes: dict[str, AgentHome] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-stage")

    def _blobs(self) -> LocalBlobs:
        return self._kind(self.root, clock=RealClock(), proof="proof", limit_bytes=self._limit, kept_bytes=0)

    @property
    def blobs(self) -> LocalBlobs:
        assert isinstance(self.world.blobs, LocalBlobs)
        return self.world.blobs

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def await_(self, claim: Callable[[], Any], what: str = "") -> None:
        self.do(until(claim, what))

    def begin(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def start(self, nodes: int) -> None:
        self.begin()
        self.do(self.world.start())
        for number in range(nodes):
            uid = self.do(self._add(f"n{number}"))
            home = AgentHome(self.directory / uid, SimpleNamespace(pem=make_tls()[0]))  # type: ignore[arg-type]
            home.identify(self.world.port, uid, f"join-{uid}")
            home.start()
            self.homes[uid] = home
        self.await_(lambda: sum(one.ready for one in self.world.live.sessions().values()) == nodes, "ready agents")

    async def _add(self, name: str) -> str:
        return self.world.add_node(name)

    def restart_operator(self) -> None:
        self.do(self.world.stop())
        self.world.blobs = self._blobs()
        self.do(self.world.start())

    def kill_agents(self) -> None:
        for home in self.homes.values():
            home.end()

    def session(self, **options: Any) -> Session:
        return Session(self.world.config(), **options)

    def blobs_of_node(self, uid: str = "uid-n0") -> set[str]:
        return {path.name for path in (self.homes[uid].path / "blobs").iterdir()}

    def stop(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        self.kill_agents()
        self.do(self.world.stop())
        if last is not None:
            self.do(last)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@contextmanager
def staged(directory: Path, *, nodes: int = 1, is_shared: bool = True, limit: int = LIMIT) -> Iterator[Stage]:
    stage = Stage(directory, is_shared=is_shared, limit=limit)
    stage.start(nodes)
    try:
        yield stage
    finally:
        stage.stop()


@contextmanager
def calling(stage: Stage) -> Iterator[PoolHandle]:
    """The pool, for functions of the test's own module, which nodes do not have."""
    caller = sys._getframe(2).f_globals["__name__"]
    with stage.session(modules=[caller]) as session:
        yield session.pool("hello")
