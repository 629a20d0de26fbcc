"""Many rows in one statement.

Each step of a statement gives up the interpreter lock, and gets it back late while the event loop is busy. So a batch
is a few statements with many rows each, not one statement for each row. Sizes are powers of two, so that few
statements have to be prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")
Row = tuple[object, ...]
_LARGEST = 128


def chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in order, in parts whose sizes are powers of two."""
    start = 0
    while start < len(rows):
        size = _LARGEST
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size


@cache
def values(count: int, width: int) -> str:
    """`VALUES (?, ?), (?, ?)`: columns are called column1, column2, ..."""
    row = f"({', '.join('?' * width)})"
    return f"VALUES {', '.join([row] * count)}"


def insert(raw: sqlite3.Connection, prefix: str, rows: Sequence[Row]) -> None:
    for part in chunks(rows):
        raw.execute(f"{prefix} {values(len(part), len(part[0]))}", tuple(chain.from_iterable(part)))


def select(raw: sqlite3.Connection, template: str, rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """What `SELECT ... FROM (%s) AS new JOIN ...` finds for all rows."""
    for part in chunks(rows):
        yield from raw.execute(template % values(len(part), len(part[0])), tuple(chain.from_iterable(part)))


def update(raw: sqlite3.Connection, template: str, rows: Sequence[Row]) -> tuple[bool, ...]:
    """Run `UPDATE ... FROM (%s) AS new WHERE ...` for all rows and say which of them found their target.

    The template must match at most one target for each row. Usually all match, which the count tells; only otherwise
    the part is undone and its rows go one by one, in order.
    """
    found: list[bool] = []
    for part in chunks(rows):
        statement = template % values(len(part), len(part[0]))
        if len(part) == 1:
            found.append(raw.execute(statement, part[0]).rowcount == 1)
            continue
        raw.execute("SAVEPOINT batch")
        if raw.execute(statement, tuple(chain.from_iterable(part))).rowcount == len(part):
            found.extend([True] * len(part))
        else:
            raw.execute("ROLLBACK TO batch")
            single = template % values(1, len(part[0]))
            found.extend(raw.execute(single, row).rowcount == 1 for row in part)
        raw.execute("RELEASE batch")
    return tuple(found)
