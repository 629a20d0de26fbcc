"""The SDK on the real queue and store, through restarts that lose everything but the rows."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from skyward.contracts import PoolFacts, Rank
from skyward.errors import PoolAtZero, PoolNotFound, PythonMismatch
from skyward.queue import DurableQueue
from skyward.sdk.session import Session
from skyward.store import memory_store
from tests.fakes.ids import FakeIds
from tests.gateway.world import POOL, RealClock, World
from tests.sdk.world import ThreadedWorld, rank

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def slow_double(n: int) -> int:
    time.sleep(0.0005)
    return 2 * n


class DurableWorld(ThreadedWorld):
    """Each start of the operator makes a new queue from the rows."""

    def begin(self, nodes: int, lanes: int) -> None:
        self._seeds = itertools.count()
        self.start(nodes, lanes, self._make_store)

    async def _make_store(self, world: World) -> None:
        self._store = memory_store(RealClock(), FakeIds(next(self._seeds)))
        await self._make_queue()

    async def _make_queue(self) -> None:
        ids = FakeIds(next(self._seeds))
        self.world.queue = DurableQueue(self._store, clock=RealClock(), ids=ids, pools=self._pool)
        await self.world.queue.recover()

    def _pool(self, key: str) -> PoolFacts | None:
        nodes = self.world.nodes.items()
        known = {
            POOL: PoolFacts(POOL, "1", 2, PYTHON, False, tuple(Rank(uid, name, "127.0.0.1") for uid, name in nodes)),
            "default/zero": PoolFacts("default/zero", "2", 0, PYTHON, False, ()),
            "default/other": PoolFacts("default/other", "3", 1, "3.99", False, ()),
        }
        return known.get(key)

    def restart_operator(self) -> None:
        self.do(self.world.stop())
        self.do(self._make_queue())
        self.do(self.world.start())

    def end(self) -> None:
        self.stop_world()
        self.do(self._store.close())
        self.stop_loop()


@contextmanager
def durable_world() -> Iterator[DurableWorld]:
    world = DurableWorld()
    world.begin(nodes=2, lanes=4)
    try:
        yield world
    finally:
        world.end()


@pytest.fixture(scope="module")
def world() -> Iterator[DurableWorld]:
    with durable_world() as world:
        yield world


@pytest.fixture
def session(world: DurableWorld) -> Iterator[Session]:
    with world.session() as session:
        yield session


def test_run_map_and_broadcast(session: Session) -> None:
    pool = session.pool("hello")

    assert pool.run(slow_double, 4) == 8
    assert list(pool.map(slow_double, range(700))) == [2 * n for n in range(700)]
    assert pool.broadcast(rank) == [0, 1]


@pytest.mark.parametrize(
    ("pool", "error"),
    [("nowhere", PoolNotFound), ("zero", PoolAtZero), ("other", PythonMismatch)],
    ids=["unknown", "at zero", "another python"],
)
def test_a_call_that_can_never_run_is_refused_at_once(session: Session, pool: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        session.pool(pool).run(slow_double, 1)


def test_an_endless_map_that_is_closed_leaves_nothing_behind(world: DurableWorld, session: Session) -> None:
    results = session.pool("hello").map(slow_double, itertools.count())
    assert list(itertools.islice(results, 100)) == [2 * n for n in range(100)]

    results.close()

    deadline = time.monotonic() + 20
    while world.world.queue.counts(POOL) != (0, 0):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_nothing_is_lost_or_run_twice_over_restarts_of_the_operator() -> None:
    with durable_world() as world, world.session() as session:
        pool = session.pool("hello")
        results = pool.map(slow_double, range(2500))
        futures = [pool.submit(slow_double, n) for n in range(100)]
        taken = []
        for _ in range(4):
            taken += itertools.islice(results, 400)
            world.restart_operator()
        taken += results

        assert taken == [2 * n for n in range(2500)]
        assert [future.result(20) for future in futures] == [2 * n for n in range(100)]
        executed = [(id_.task, id_.item) for agent in world.agents for id_ in agent.executed]
        assert len(executed) == len(set(executed)) == 2600
