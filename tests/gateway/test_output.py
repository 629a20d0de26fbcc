from __future__ import annotations

from collections.abc import Sequence

import pytest

from skyward.gateway.output import MemoryOutputLog, last_lines
from skyward_agent.wire.messages import Output


def piece(data: bytes, task: str = "t", node: str = "n", sequence: int = 0) -> Output:
    return Output(task, 0, 1, sequence, "stdout", data, node)


def text(pieces: Sequence[Output]) -> bytes:
    return b"".join(one.data for one in pieces)


def test_what_was_written_is_read_in_order_by_task_and_by_node() -> None:
    log = MemoryOutputLog()

    log.append([piece(b"a\n", "t1", "n1"), piece(b"b\n", "t2", "n1"), piece(b"c\n", "t1", "n2")])

    assert text(log.read(task="t1")) == b"a\nc\n"
    assert text(log.read(node="n1")) == b"a\nb\n"
    assert text(log.read(task="t1", node="n2")) == b"c\n"
    assert text(log.read()) == b"a\nb\nc\n"


def test_a_talkative_task_loses_its_oldest_output_and_says_so_while_others_keep_theirs() -> None:
    log = MemoryOutputLog(task_bytes=10_000)
    log.append([piece(b"other\n", "quiet")])

    log.append([piece(b"%04d\n" % n * 100, "loud") for n in range(100)])

    kept = text(log.read(task="loud"))
    assert b"bytes of output dropped" in kept.splitlines()[0]
    assert kept.endswith(b"0099\n")
    assert len(kept) < 10_000
    assert text(log.read(task="quiet")) == b"other\n"


def test_all_tasks_together_are_bounded_and_the_oldest_goes_first() -> None:
    log = MemoryOutputLog(total_bytes=50_000)

    log.append([piece(b"x" * 500, f"t{n}") for n in range(1000)])

    assert len(text(log.read())) < 50_000
    assert text(log.read(task="t0")) == b""
    assert text(log.read(task="t999")) == b"x" * 500


def test_one_huge_piece_keeps_its_end() -> None:
    log = MemoryOutputLog(task_bytes=10_000)

    log.append([piece(b"y" * 100_000 + b"end")])

    kept = text(log.read(task="t"))
    assert kept.endswith(b"end")
    assert len(kept) < 10_000
    assert b"dropped" in kept


@pytest.mark.parametrize(
    ("pieces", "count", "expected"),
    [
        ((b"a\nb\nc\n",), 2, b"b\nc\n"),
        ((b"a\nb\nc",), 2, b"b\nc"),
        ((b"a\n", b"b", b"\nc\n"), 2, b"b\nc\n"),
        ((b"a\n",), 5, b"a\n"),
        ((b"a\n", b"b\n"), 1, b"b\n"),
        ((b"a\n",), 0, b""),
        ((), 3, b""),
    ],
    ids=["whole", "unfinished", "across pieces", "fewer", "exact", "none", "empty"],
)
def test_the_tail_is_counted_in_lines(pieces: tuple[bytes, ...], count: int, expected: bytes) -> None:
    assert text(last_lines([piece(data) for data in pieces], count)) == expected


def test_subscribers_see_what_arrives_until_they_stop() -> None:
    log = MemoryOutputLog()
    seen: list[bytes] = []
    stop = log.subscribe(lambda outputs: seen.append(text(outputs)))

    log.append([piece(b"1")])
    log.append([])
    stop()
    stop()
    log.append([piece(b"2")])

    assert seen == [b"1"]
