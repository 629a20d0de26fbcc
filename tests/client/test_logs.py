"""Following a log over broken connections, and its lines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skyward.client.logs import LogQuery, LogRecord, LogText, records
from skyward.errors import OperatorUnreachable

QUERY = LogQuery("tasks", "default", "t", follow=True, tail=10)


def record(data: bytes, offset: int = 0, node: str = "n", item: int = 0, attempt: int = 1) -> LogRecord:
    return LogRecord(offset, node=node, item=item, attempt=attempt, stream="stdout", data=data)


class Operator:
    """Gives this log from the offset asked for, so many records at a time before the line breaks."""

    def __init__(self, log: bytes, breaks_after: int, origin: str = "one") -> None:
        self.log = log
        self.breaks_after = breaks_after
        self.log_origin = ""
        self.origin = origin
        self.asked: list[LogQuery] = []

    def log_records(self, query: LogQuery) -> Iterator[LogRecord]:
        self.asked.append(query)
        self.log_origin = self.origin
        start = query.offset if query.offset is not None and query.origin == self.origin else 0
        for count, offset in enumerate(range(start, len(self.log))):
            if count == self.breaks_after:
                raise OperatorUnreachable("it broke")
            yield record(self.log[offset : offset + 1], offset)


def test_each_byte_of_a_log_comes_once_however_often_the_line_breaks() -> None:
    operator, broken = Operator(b"abcdefgh", breaks_after=3), []

    found = b"".join(one.data for one in records(operator, QUERY, broken.append))  # type: ignore[arg-type]

    assert found == b"abcdefgh"
    assert len(broken) == 2
    assert [query.tail for query in operator.asked] == [10, None, None]


def test_an_operator_that_began_anew_is_read_from_its_start() -> None:
    operator = Operator(b"old", breaks_after=2)

    def restart(_: OperatorUnreachable) -> None:
        operator.log, operator.origin, operator.breaks_after = b"new", "two", 99

    assert b"".join(one.data for one in records(operator, QUERY, restart)) == b"olnew"  # type: ignore[arg-type]


def test_without_following_a_break_is_an_error() -> None:
    query = LogQuery("tasks", "default", "t")

    with pytest.raises(OperatorUnreachable):
        list(records(Operator(b"abc", 1), query, lambda error: None))  # type: ignore[arg-type]


def test_text_is_as_it_was_written_also_where_a_piece_ends_within_a_character() -> None:
    text = LogText(prefix=False, items=False)
    data = "größer\n".encode()

    assert text.of(record(data[:3])) + text.of(record(data[3:])) == "größer\n"


def test_a_prefix_stands_before_whole_lines() -> None:
    text = LogText(prefix=True, items=False)
    pieces = record(b"a", node="n1"), record(b"x\ny", node="n2"), record(b"b\n", node="n1")

    assert "".join(map(text.of, pieces)) + text.rest() == "[n2] x\n[n1] ab\n[n2] y\n"


def test_a_prefix_names_the_item_and_a_later_attempt() -> None:
    text = LogText(prefix=True, items=True)

    assert text.of(record(b"x\n", item=3)) == "[n item 3] x\n"
    assert text.of(record(b"x\n", item=3, attempt=2)) == "[n item 3 attempt 2] x\n"


def test_a_gap_ends_what_was_unfinished() -> None:
    text = LogText(prefix=True, items=False)

    shown = text.of(record(b"x")) + text.of(LogRecord(1, gap=7)) + text.of(record(b"y\n", 8))

    assert shown == "[n] x\n[… 7 bytes of output dropped]\n[n] y\n"
