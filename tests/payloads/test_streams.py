"""Generator functions: what they yield comes as it is made, in order, and no further ahead than it is taken."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skyward.errors import TaskError
from skyward.sdk.async_session import AsyncSession
from skyward.sdk.streams import AHEAD
from tests.payloads.stage import Stage, calling, staged

pytestmark = pytest.mark.slow


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


def counting(path: str) -> Iterator[int]:
    """Endless; the file grows by a byte with each."""
    number = 0
    while True:
        with open(path, "ab") as made:
            made.write(b"x")
        yield number
        number += 1


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as stage:
        yield stage


def settled(measure: Callable[[], int]) -> int:
    """What it is when it has stopped to change."""
    deadline = time.monotonic() + 20
    last, since = measure(), time.monotonic()
    while time.monotonic() - since < 0.3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        if (now := measure()) != last:
            last, since = now, time.monotonic()
    return last


def test_values_come_in_order_and_then_what_is_returned(stage: Stage) -> None:
    def make() -> Any:
        yield 1
        yield 2
        return "done"

    with calling(stage) as pool:
        stream: Any = pool.run(make)
        returned = []

        def through() -> Iterator[int]:
            returned.append((yield from stream))

        assert list(through()) == [1, 2]
        assert returned == ["done"]
        assert list(pool.run(numbers, 1000)) == list(range(1000))
        assert list(pool.run(numbers, 0)) == []


def test_values_come_while_the_function_runs(stage: Stage, tmp_path: Path) -> None:
    def make(gate: str) -> Iterator[str]:
        import pathlib
        import time

        yield "early"
        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        yield "late"

    with calling(stage) as pool:
        stream = pool.run(make, str(tmp_path / "gate"))
        assert next(stream) == "early"
        (tmp_path / "gate").touch()
        assert next(stream) == "late"


def test_a_slow_loop_pauses_the_function(stage: Stage, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with calling(stage) as pool:
        stream = pool.run(counting, str(made))
        for number in range(5):
            assert next(stream) == number

        ahead = settled(lambda: made.stat().st_size)

        assert 5 <= ahead <= 5 + AHEAD + 1


def test_leaving_the_loop_stops_the_function(stage: Stage, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with calling(stage) as pool:
        with pool.run(counting, str(made)) as stream:  # type: ignore[attr-defined]
            next(stream)

        settled(lambda: made.stat().st_size)
        assert pool.run(len, "free again") == 10


def test_dropping_the_stream_stops_the_function(stage: Stage, tmp_path: Path) -> None:
    with calling(stage) as pool:
        for _ in pool.run(counting, str(tmp_path / "made")):
            break

        stage.await_(lambda: stage.world.queue.counts("default/hello") == (0, 0), "the stream to end")


def test_a_session_that_closes_stops_its_streams(stage: Stage, tmp_path: Path) -> None:
    with calling(stage) as pool:
        stream = pool.run(counting, str(tmp_path / "made"))
        next(stream)

    stage.await_(lambda: stage.world.queue.counts("default/hello") == (0, 0), "the stream to end")
    with pytest.raises(TaskError, match="closed"):
        list(stream)


def test_what_the_function_raises_comes_after_what_it_yielded(stage: Stage) -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("no more")

    with calling(stage) as pool:
        stream = pool.run(make)

        assert [next(stream), next(stream)] == [1, 2]
        with pytest.raises(LookupError, match="no more"):
            next(stream)


def test_output_is_in_order_with_the_values(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    def make() -> Iterator[int]:
        for number in range(40):
            print("before", number)
            yield number

    with calling(stage) as pool:
        for value in pool.run(make):
            print("value", value, flush=True)

    lines = capsys.readouterr().out.splitlines()
    for number in range(40):
        assert lines.index(f"before {number}") < lines.index(f"value {number}")
    assert [line for line in lines if line.startswith("before")] == [f"before {number}" for number in range(40)]


def test_large_values_come_as_blobs_and_are_gone_when_they_are_taken(stage: Stage) -> None:
    def make() -> Iterator[bytes]:
        for number in range(20):
            yield bytes([number]) * 2**20

    with calling(stage) as pool:
        assert [(value[0], len(value)) for value in pool.run(make)] == [(number, 2**20) for number in range(20)]

        stage.await_(lambda: not stage.blobs.room.used_bytes, "the room to be free again")


def test_an_async_generator_streams_as_well(stage: Stage) -> None:
    async def make(count: int) -> AsyncIterator[int]:
        import asyncio

        for number in range(count):
            await asyncio.sleep(0)
            yield number

    async def main() -> list[int]:
        async with AsyncSession(lambda: stage.session(modules=[__name__])) as session:
            stream: Any = session.pool("hello").run(make, 30)
            return [value async for value in stream]

    with calling(stage) as pool:
        stream: Any = pool.run(make, 50)
        assert list(stream) == list(range(50))
    assert asyncio.run(main()) == list(range(30))


def test_a_stream_goes_on_after_a_restart_of_the_operator(stage: Stage, tmp_path: Path) -> None:
    with calling(stage) as pool:
        stream = pool.run(counting, str(tmp_path / "made"))
        assert [next(stream) for _ in range(10)] == list(range(10))

        stage.restart_operator()

        assert [next(stream) for _ in range(100)] == list(range(10, 110))


def test_a_stream_whose_agent_dies_ends_with_an_error_and_is_not_begun_anew(stage: Stage, tmp_path: Path) -> None:
    with calling(stage) as pool:
        stream = pool.run(counting, str(tmp_path / "made"))
        next(stream)
        home = stage.homes["uid-n0"]
        (child,) = [int(pid) for pid in re.findall(r"child started lane=0 pid=(\d+)", home.log)]

        os.kill(child, signal.SIGKILL)

        with pytest.raises(TaskError, match="SIGKILL"):
            list(stream)
        before = settled(lambda: (tmp_path / "made").stat().st_size)
        assert before <= AHEAD + 2


def test_late_room_of_one_stream_is_not_that_of_the_next(stage: Stage, tmp_path: Path) -> None:
    made = tmp_path / "made"
    with calling(stage) as pool:
        list(pool.run(numbers, 500))
        stream = pool.run(counting, str(made))
        next(stream)

        assert settled(lambda: made.stat().st_size) <= 1 + AHEAD + 1


def test_the_last_values_are_not_lost_with_an_operator_that_was_away_when_the_function_returned(
    stage: Stage, tmp_path: Path
) -> None:
    def make(gate: str) -> Iterator[int]:
        import pathlib
        import time

        yield 0
        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        yield from range(1, 3)  # as many as may be made before anybody asks
        pathlib.Path(gate).unlink()

    gate = tmp_path / "gate"
    with calling(stage) as pool:
        stream = pool.run(make, str(gate))
        assert next(stream) == 0
        stage.do(stage.world.stop())
        gate.touch()
        stage.await_(lambda: not gate.exists(), "the function to end")

        stage.do(stage.world.start())

        assert list(stream) == [1, 2]
