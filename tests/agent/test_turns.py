"""What a function writes to its two streams is read in the order in which it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skyward_agent.runner.turns import Turns
from tests.agent.bench import RunnerBench, with_bench


def turn_back_and_forth() -> None:
    import sys

    for n in range(30):
        print(f"out {n}")
        print(f"err {n}", file=sys.stderr)


def test_the_streams_of_one_attempt_are_in_order(tmp_path: Path) -> None:
    async def test(bench: RunnerBench) -> None:
        await bench.value(turn_back_and_forth)

        lines = b"".join(output.data for output in bench.outputs).decode().splitlines()
        assert lines == [line for n in range(30) for line in (f"out {n}", f"err {n}")]

    with_bench(tmp_path, test)


def test_a_stream_waits_for_the_other_but_never_for_itself() -> None:
    asked: list[int] = []

    def unread(descriptor: int) -> int:
        asked.append(descriptor)
        return len(asked) < 3

    turns = Turns(unread)
    turns.take(1)
    assert asked == []
    turns.take(2)
    assert asked == [1, 1, 1]
    turns.take(2)
    assert asked == [1, 1, 1]


def test_waiting_is_bounded_when_nobody_reads() -> None:
    looks: list[Any] = []
    turns = Turns(lambda descriptor: looks.append(descriptor) or 1)

    for descriptor in (2, 1) * 5000:
        turns.take(descriptor)

    # Ten thousand turns of 20 ms would be a million looks: what was saved up is spent, and then nothing is waited for.
    assert len(looks) < 100_000
