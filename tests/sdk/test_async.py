"""The session for coroutines: same names, awaited; cancelling who waits cancels the call."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from skyward.errors import NotFound, NotPicklable, OperatorUnreachable, PoolNotFound, TaskError
from skyward.sdk.async_session import AsyncSession
from skyward.sdk.functions import function
from skyward.sdk.session import Session
from tests.gateway.world import until
from tests.sdk.world import ThreadedWorld, emit, rank, threaded_world

DEADLINE_S = 20.0
release = threading.Event()
"""What waiting functions wait for: they run in this process."""


@pytest.fixture(scope="module")
def world() -> Iterator[ThreadedWorld]:
    with threaded_world(nodes=2, lanes=2) as world:
        yield world


@asynccontextmanager
async def opened(world: ThreadedWorld) -> AsyncIterator[AsyncSession]:
    release.clear()
    try:
        async with AsyncSession(world.session) as session:
            yield session
    finally:
        release.set()


def in_session(world: ThreadedWorld, body: Callable[[AsyncSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S), opened(world) as session:
            await body(session)

    asyncio.run(main())


def add(a: int, b: int = 0) -> int:
    return a + b


def fail(text: str) -> None:
    raise ValueError(text)


def stop_iteration() -> None:
    raise StopIteration


def wait_for_release() -> str:
    release.wait(DEADLINE_S)
    return "released"


def outcomes_of_last(world: ThreadedWorld) -> list[str]:
    task = list(world.world.queue.tasks_by_uid.values())[-1]
    return sorted(result.outcome for result in task.results.values())


def test_calls_have_the_same_names_and_are_awaited(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        pool = session.pool("hello")
        assert await pool.run(add, 1, b=2) == 3
        assert await pool.submit(add, 4) == 4
        assert [value async for value in pool.map(add, range(700))] == list(range(700))
        assert await pool.broadcast(rank) == [0, 1]
        assert await asyncio.gather(*(pool.run(add, n) for n in range(50))) == list(range(50))

    in_session(world, body)


def test_a_session_can_be_awaited_and_closed(world: ThreadedWorld) -> None:
    async def main() -> None:
        session = await AsyncSession(world.session)
        assert await session.pool("hello").run(add, 1) == 1
        await session.close()
        await session.close()
        with pytest.raises(TaskError, match="session is closed"):
            await session.pool("hello").run(add, 1)

    asyncio.run(main())


def test_no_operator_is_said_at_once(world: ThreadedWorld) -> None:
    async def main() -> None:
        with pytest.raises(OperatorUnreachable):
            await AsyncSession(lambda: Session(world.world.config(port=1)))

    asyncio.run(main())


def test_errors_are_those_of_the_other_face(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        pool = session.pool("hello")
        with pytest.raises(ValueError, match="too bad") as caught:
            await pool.run(fail, "too bad")
        assert "in fail" in str(caught.value.__cause__)
        with pytest.raises(NotPicklable):
            pool.submit(add, threading.Lock())  # type: ignore[arg-type]
        with pytest.raises(PoolNotFound):
            await session.pool("nowhere").run(add, 1)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(stop_iteration)

    in_session(world, body)


def test_a_timeout_of_who_waits_cancels_the_call(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await session.pool("hello").run(wait_for_release)

        await until(lambda: outcomes_of_last(world) == ["Cancelled"])

    in_session(world, body)


def test_cancelling_the_future_cancels_the_call(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        future = session.pool("hello").submit(wait_for_release)
        await until(lambda: world.world.queue.held_by)

        future.cancel()

        with pytest.raises(asyncio.CancelledError):
            await future
        await until(lambda: outcomes_of_last(world) == ["Cancelled"])

    in_session(world, body)


def test_cancelling_who_waits_for_a_map_cancels_the_map(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        results = session.pool("hello").map(lambda _: wait_for_release(), range(3))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(results)

        await until(lambda: outcomes_of_last(world) == ["Cancelled"] * 3)
        assert [value async for value in results] == []

    in_session(world, body)


def test_cancelling_who_waits_for_a_broadcast_cancels_all_ranks(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await session.pool("hello").broadcast(wait_for_release)

        await until(lambda: outcomes_of_last(world) == ["Cancelled"] * 2)

    in_session(world, body)


def test_a_map_is_fed_as_results_are_taken_and_ends_when_it_is_closed(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        async with session.pool("hello").map(add, itertools.count()) as results:
            taken = [await anext(results) for _ in range(300)]

        assert taken == list(range(300))
        queue = world.world.queue
        await until(lambda: queue.counts("default/hello") == (0, 0))

    in_session(world, body)


def test_a_map_gives_failures_in_their_place_or_raises_the_first(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        pool = session.pool("hello")
        found: list[Any] = [value async for value in pool.map(fail, ["a", "b"], return_exceptions=True)]
        assert [str(error) for error in found] == ["a", "b"]
        with pytest.raises(ValueError, match="a"):
            await anext(pool.map(fail, ["a", "b"]))
        with pytest.raises(TimeoutError):
            await anext(pool.map(lambda _: wait_for_release(), [1], timeout=0.05))

    in_session(world, body)


def test_many_calls_need_no_thread_each(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        pool = session.pool("hello")
        await pool.run(add, 1)
        before = threading.active_count()
        futures = [pool.submit(wait_for_release) for _ in range(100)]
        await until(lambda: len(world.world.queue.held_by) == 4)

        # Four calls run in this process, on the stand-in's own threads; what waits for the hundred has none.
        assert threading.active_count() <= before + 8

        release.set()
        assert await asyncio.gather(*futures) == ["released"] * 100

    in_session(world, body)


def test_what_a_function_prints_is_shown_before_its_result(
    world: ThreadedWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    async def body(session: AsyncSession) -> None:
        await session.pool("hello").run(emit, "here\n")
        assert "here\n" in capsys.readouterr().out

    in_session(world, body)


def test_sugar_is_awaited_too(world: ThreadedWorld) -> None:
    plus = function(add)

    async def body(session: AsyncSession) -> None:
        pool = session.pool("hello")
        assert await (plus(1, 2) >> pool) == 3
        assert await ((plus(1) & plus(2) & plus(3)) >> pool) == (1, 2, 3)
        assert await (function(rank)() @ pool) == [0, 1]

    in_session(world, body)


def test_a_task_is_found_again_by_its_id(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        with world.session() as other:
            future = other.pool("hello").submit(wait_for_release)
            uid = future.task_id(DEADLINE_S)

        again = await session.task(uid)
        assert not again.done()
        release.set()

        assert await again == "released"

    in_session(world, body)


def test_an_unknown_task_is_said_at_once(world: ThreadedWorld) -> None:
    async def body(session: AsyncSession) -> None:
        with pytest.raises((NotFound, OperatorUnreachable)):
            await session.task("no-such-task")

    in_session(world, body)
