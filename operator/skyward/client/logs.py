"""The log of a task or a node as records, read on from where a broken connection left it, and as lines that say whose they are."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skyward.errors import OperatorUnreachable

if TYPE_CHECKING:
    from skyward.client.objects import ObjectClient


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which part of a log."""

    plural: str
    namespace: str
    name: str
    follow: bool = False
    tail: int | None = None
    since_s: int | None = None
    item: int | None = None
    previous: bool = False
    offset: int | None = None
    """Go on from here, in the log of the operator process `origin`."""
    origin: str = ""

    def params(self) -> dict[str, str]:
        numbers = {
            "tailLines": self.tail,
            "sinceSeconds": self.since_s,
            "item": self.item,
            "offset": self.offset,
        }
        given = {name: str(value) for name, value in numbers.items() if value is not None}
        flags = {"follow": self.follow, "previous": self.previous}
        given |= {name: "true" for name, value in flags.items() if value}
        return given | ({"origin": self.origin} if self.origin else {})


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A piece of output, or a gap of so many bytes where the operator let some go."""

    offset: int
    line: int = 0
    at: float = 0.0
    node: str = ""
    item: int = 0
    attempt: int = 0
    stream: str = ""
    data: bytes = b""
    gap: int = 0

    @property
    def end(self) -> int:
        return self.offset + len(self.data) + self.gap

    @staticmethod
    def of(values: dict[str, Any]) -> LogRecord:
        return LogRecord(**{**values, "data": base64.b64decode(values.get("data", ""))})


def records(
    client: ObjectClient, query: LogQuery, reconnect: Callable[[OperatorUnreachable], None]
) -> Iterator[LogRecord]:
    """The log, each byte of it once. A follower that is cut off calls `reconnect`, which returns when the operator answers
    again or raises, and goes on where it was; output of an operator that began anew comes from its start."""
    while True:
        try:
            for record in client.log_records(query):
                query = replace(query, offset=record.end, origin=client.log_origin)
                yield record
            return
        except OperatorUnreachable as error:
            if not query.follow:
                raise
            reconnect(error)
            # What was asked of the first look holds no longer: all that comes from here on is new.
            query = replace(query, tail=None, since_s=None)


class LogText:
    """Records as text: as they are, or in whole lines that begin with where they come from."""

    def __init__(self, *, prefix: bool, items: bool) -> None:
        """`items`: the log is of several items, and a prefix says which."""
        self._prefix = prefix
        self._items = items
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open: dict[tuple[str, int, int, str], bytes] = {}

    def of(self, record: LogRecord) -> str:
        if record.gap:
            return self.rest() + f"[… {record.gap} bytes of output dropped]\n"
        if not self._prefix:
            return self._decoder.decode(record.data)
        source = (record.node, record.item, record.attempt, record.stream)
        *whole, begun = (self._open.pop(source, b"") + record.data).split(b"\n")
        if begun:
            self._open[source] = begun
        return "".join(self._line(source, line) for line in whole)

    def rest(self) -> str:
        """Lines that were not finished."""
        lines = [self._line(source, line) for source, line in self._open.items()]
        self._open.clear()
        return "".join(lines) + self._decoder.decode(b"", final=True)

    def _line(self, source: tuple[str, int, int, str], line: bytes) -> str:
        node, item, attempt, _ = source
        parts = [node, *([f"item {item}"] if self._items else []), *([f"attempt {attempt}"] if attempt > 1 else [])]
        return f"[{' '.join(parts)}] {line.decode('utf-8', 'replace')}\n"
