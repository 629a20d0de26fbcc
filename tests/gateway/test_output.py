from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from skyward.apiserver.log_selection import last_lines
from skyward.contracts import LogPiece
from skyward.gateway.output import MemoryOutputLog
from skyward_agent.wire.messages import Output


def piece(data: bytes, task: str = "t", node: str = "n", sequence: int = 0) -> Output:
    return Output(task, 0, 1, sequence, "stdout", data, node)


def text(pieces: Iterable[LogPiece]) -> bytes:
    return b"".join(one.output.data for one in pieces)


def gaps(pieces: Sequence[LogPiece]) -> list[int]:
    """What is missing before each piece."""
    ends = [0, *(one.end for one in pieces)]
    return [one.offset - end for one, end in zip(pieces, ends, strict=False)]


def test_what_was_written_is_read_in_order_by_task_and_by_node() -> None:
    log = MemoryOutputLog()

    log.append([piece(b"a\n", "t1", "n1"), piece(b"b\n", "t2", "n1"), piece(b"c\n", "t1", "n2")])

    assert text(log.pieces(task="t1")) == b"a\nc\n"
    assert text(log.pieces(node="n1")) == b"a\nb\n"
    assert text(log.pieces(task="none")) == text(log.pieces(node="none")) == b""


def test_pieces_say_where_they_stand_and_when_they_came() -> None:
    times = iter((5.0, 6.0))
    log = MemoryOutputLog(now=lambda: next(times))

    log.append([piece(b"a\nb", "t1", "n1"), piece(b"x\n", "t2", "n1")])
    log.append([piece(b"c\n", "t1", "n2")])

    assert [(one.offset, one.line, one.at) for one in log.pieces(task="t1")] == [(0, 0, 5.0), (3, 1, 6.0)]
    assert [(one.offset, one.line, one.at) for one in log.pieces(node="n1")] == [(0, 0, 5.0), (3, 1, 5.0)]


@pytest.mark.parametrize("start", range(10))
def test_reading_goes_on_at_any_offset(start: int) -> None:
    log = MemoryOutputLog()
    log.append([piece(b"ab\n"), piece(b"c"), piece(b"d\nef\n")])

    found = log.pieces(task="t", start=start)

    assert text(found) == b"ab\ncd\nef\n"[start:]
    if found:
        assert (found[0].offset, found[0].line) == (start, b"ab\ncd\nef\n"[:start].count(b"\n"))


def test_a_talkative_task_loses_its_oldest_output_and_others_keep_theirs() -> None:
    log = MemoryOutputLog(task_bytes=10_000)
    log.append([piece(b"other\n", "quiet")])

    log.append([piece(b"%04d\n" % n * 100, "loud") for n in range(100)])

    kept = log.pieces(task="loud")
    assert kept[0].offset == 50_000 - len(text(kept))
    assert kept[0].line == 10_000 - text(kept).count(b"\n")
    assert text(kept).endswith(b"0099\n")
    assert 0 < len(text(kept)) < 10_000
    assert text(log.pieces(task="quiet")) == b"other\n"


def test_a_nodes_log_has_a_gap_wherever_a_task_lost_output() -> None:
    log = MemoryOutputLog(task_bytes=2_000)
    log.append([piece(b"first\n", "quiet")])
    log.append([piece(b"x" * 500, "loud") for _ in range(50)])
    log.append([piece(b"last\n", "quiet")])

    kept = log.pieces(node="n")

    assert text(kept).startswith(b"first\n")
    assert text(kept).endswith(b"last\n")
    assert [gap for gap in gaps(kept) if gap] == [25_011 - len(text(kept))]


def test_all_tasks_together_are_bounded_and_the_oldest_goes_first() -> None:
    log = MemoryOutputLog(total_bytes=50_000)

    log.append([piece(b"x" * 500, f"t{n}") for n in range(1000)])

    assert len(text(log.pieces(node="n"))) < 50_000
    assert text(log.pieces(task="t0")) == b""
    assert text(log.pieces(task="t999")) == b"x" * 500


def test_offsets_go_on_when_all_that_was_kept_is_gone() -> None:
    log = MemoryOutputLog(total_bytes=50_000)
    log.append([piece(b"x" * 500)])
    log.append([piece(b"y" * 500, "other") for _ in range(200)])

    log.append([piece(b"z\n")])

    assert [(one.offset, one.output.data) for one in log.pieces(task="t")] == [(500, b"z\n")]


def test_one_huge_piece_keeps_its_end() -> None:
    log = MemoryOutputLog(task_bytes=10_000)

    log.append([piece(b"y" * 100_000 + b"end")])

    (kept,) = log.pieces(task="t")
    assert kept.output.data.endswith(b"end")
    assert len(kept.output.data) < 10_000
    assert kept.end == 100_003


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
        ((b"a\n", b"b\n"), None, b"a\nb\n"),
    ],
    ids=["whole", "unfinished", "across pieces", "fewer", "exact", "none", "empty", "all"],
)
def test_the_tail_is_counted_in_lines(pieces: tuple[bytes, ...], count: int | None, expected: bytes) -> None:
    log = MemoryOutputLog()
    log.append([piece(data) for data in pieces])

    assert text(last_lines(log.pieces(task="t"), count)) == expected


def test_subscribers_see_what_arrives_until_they_stop() -> None:
    log = MemoryOutputLog()
    seen: list[bytes] = []
    stop = log.subscribe(lambda outputs: seen.append(b"".join(one.data for one in outputs)))

    log.append([piece(b"1")])
    log.append([])
    stop()
    stop()
    log.append([piece(b"2")])

    assert seen == [b"1"]
