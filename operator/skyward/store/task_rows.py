"""Tasks, items and functions as rows: set-based statements on the DBAPI connection, for these are the hot ones."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from skyward.api import TaskAttempt, TaskFailure, TaskItem
from skyward.contracts import KEPT_FAILURES, ORDINARY, EndRow, ItemRow, LeaseRow, Rank, TaskRow
from skyward.store import batches, blob_rows, task_codec
from skyward_agent.wire.messages import CANCELLED, SUCCEEDED, Failure, Result

_QUEUED, _LEASED, _ENDED = 0, 1, 2
"""Values of an item's `state`; the statements write them as numbers."""

_LEASE = (
    "UPDATE items SET state = 1, started = new.column7, attempt = new.column3, secret = new.column4, "
    "node_uid = new.column5, node = new.column6, leased_at = new.column8 FROM (%s) AS new "
    "WHERE items.task = new.column1 AND items.item = new.column2 AND items.state = 0"
)
_START = (
    "UPDATE items SET started = 1 FROM (%s) AS new WHERE items.task = new.column1 AND items.item = new.column2 "
    "AND items.state = 1 AND items.attempt = new.column3 AND items.secret = new.column4"
)
_END = (
    "UPDATE items SET state = new.column6, counted = new.column7, outcome = new.column8, ended_at = new.column9, "
    "node = new.column10, value = new.column11, failure = new.column12, exception = new.column13, "
    "seconds = new.column14, ready_at = new.column15, started = 0, secret = NULL, node_uid = NULL FROM (%s) AS new "
    "WHERE items.task = new.column1 AND items.item = new.column2 AND items.state = new.column3 "
    "AND items.attempt = new.column4 AND items.secret IS new.column5"
)


_OF_KEYS = "SELECT tasks.seq FROM (%s) AS new JOIN tasks ON tasks.submitter = new.column1 AND tasks.key = new.column2"
_OF_NAMES = (
    "SELECT tasks.namespace, tasks.name FROM (%s) AS new "
    "JOIN tasks ON tasks.namespace = new.column1 AND tasks.name = new.column2"
)
_OF_DIGESTS = "SELECT functions.digest FROM (%s) AS new JOIN functions ON functions.digest = new.column1"
_ITEMS = "INSERT INTO items (task, item, state, attempt, counted, started)"
_NUMBERS = "WITH RECURSIVE n (i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
_COUNTED_ITEMS = f"{_ITEMS} {_NUMBERS} SELECT ?, i, 0, 0, 0, 0 FROM n"  # noqa: S608 (constants)
_FEW = 16
"""Items that are written as rows; those of longer tasks make themselves, by counting."""


class SqlTaskRows:
    """Implements `contracts.TaskRows` inside one transaction."""

    def __init__(self, raw: sqlite3.Connection, check_writable: Callable[[], None]) -> None:
        self._raw = raw
        self._check_writable = check_writable

    # --- tasks -------------------------------------------------------------------------------------------------

    def add(self, tasks: Sequence[tuple[TaskRow, Sequence[bytes]]]) -> tuple[TaskRow, ...]:
        self._check_writable()
        last = self._raw.execute("SELECT seq FROM sqlite_sequence WHERE name = 'tasks'").fetchone()
        first = 1 if last is None else last[0] + 1
        added = tuple(replace(task, seq=seq) for seq, (task, _) in enumerate(tasks, first))
        batches.insert(self._raw, task_codec.INSERT, [task_codec.to_row(task) for task in added])
        short = [(task.seq, item) for task in added if task.items <= _FEW for item in range(task.items)]
        batches.insert(self._raw, _ITEMS, [(seq, item, _QUEUED, 0, 0, 0) for seq, item in short])
        rows: list[batches.Row] = []
        for task, (_, arguments) in zip(added, tasks, strict=True):
            if task.items > _FEW:
                self._add_items(task.seq, 0, task.items)
            rows += [(task.seq, index, data) for index, data in enumerate(arguments)]
            blob_rows.note(self._raw, task.seq, arguments)
        batches.insert(self._raw, "INSERT INTO arguments", rows)
        return added

    def extend(self, seq: int, start: int, arguments: Sequence[bytes], *, open: bool, at: float) -> None:
        self._check_writable()
        self._add_items(seq, start, start + len(arguments))
        rows = [(seq, index, data) for index, data in enumerate(arguments, start)]
        batches.insert(self._raw, "INSERT INTO arguments", rows)
        blob_rows.note(self._raw, seq, arguments)
        self._raw.execute("UPDATE tasks SET items = items + ?, open = ? WHERE seq = ?", (len(arguments), open, seq))
        self._finish(seq, at)

    def by_uid(self, uid: str) -> TaskRow | None:
        return self._task("uid = ?", uid)

    def by_name(self, namespace: str, name: str) -> TaskRow | None:
        return self._task("namespace = ? AND name = ?", namespace, name)

    def by_key(self, submitter: str, key: str) -> TaskRow | None:
        return self._task("submitter = ? AND key = ?", submitter, key)

    def by_keys(self, keys: Sequence[tuple[str, str]]) -> tuple[TaskRow, ...]:
        named = [seq for (seq,) in batches.select(self._raw, _OF_KEYS, keys)]
        return tuple(row for seq in named for row in self._tasks("seq = ?", seq))

    def taken_names(self, names: Sequence[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        return frozenset((namespace, name) for namespace, name in batches.select(self._raw, _OF_NAMES, names))

    def all(self, namespace: str | None = None) -> tuple[TaskRow, ...]:
        return self._tasks("? IS NULL OR namespace = ?", namespace, namespace)

    def unfinished(self) -> tuple[tuple[TaskRow, ...], tuple[ItemRow, ...]]:
        items = self._raw.execute(
            "SELECT task, item, attempt, counted, state, secret, node_uid, node, started, ready_at, leased_at FROM items "
            "WHERE task IN (SELECT seq FROM tasks WHERE finished_at IS NULL) AND state != 2 ORDER BY task, item"
        )
        rows = tuple(
            ItemRow(
                task,
                item,
                attempt,
                counted,
                state == _LEASED,
                secret or "",
                node_uid or "",
                node or "",
                bool(started),
                ready_at,
                leased_at or 0.0,
            )
            for task, item, attempt, counted, state, secret, node_uid, node, started, ready_at, leased_at in items
        )
        return self._tasks("finished_at IS NULL"), rows

    # --- attempts ----------------------------------------------------------------------------------------------

    def lease(self, rows: Sequence[LeaseRow], at: float) -> tuple[bool, ...]:
        self._check_writable()
        values = [
            (row.seq, row.item, row.attempt, row.secret, row.node_uid, row.node, int(row.started), at) for row in rows
        ]
        leased = batches.update(self._raw, _LEASE, values)
        for seq in sorted({row.seq for row, was_queued in zip(rows, leased, strict=True) if was_queued}):
            self._raw.execute("UPDATE tasks SET started_at = ? WHERE seq = ? AND started_at IS NULL", (at, seq))
        return leased

    def arguments(self, items: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
        select = "SELECT data FROM arguments WHERE task = ? AND item = ?"
        return tuple(self._raw.execute(select, item).fetchone()[0] for item in items)

    def start(self, attempts: Sequence[tuple[int, int, int, str]]) -> None:
        self._check_writable()
        for part in batches.chunks(attempts):
            parameters = tuple(value for attempt in part for value in attempt)
            self._raw.execute(_START % batches.values(len(part), 4), parameters)

    def end(self, rows: Sequence[EndRow]) -> tuple[bool, ...]:
        self._check_writable()
        ended = batches.update(self._raw, _END, [_end_values(row) for row in rows])
        tallies: dict[int, _Tally] = defaultdict(_Tally)
        for row, was_open in zip(rows, ended, strict=True):
            if was_open:
                tallies[row.seq].count(row)
                blob_rows.note(self._raw, row.seq, (row.value,))
                if row.note is not None:
                    self._raw.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _attempt(row))
        for seq in sorted(tallies):
            self._tally(seq, tallies[seq])
        return ended

    def cancel(self, seq: int, at: float, outcome: str = CANCELLED, failure: Failure | None = None) -> tuple[int, ...]:
        self._check_writable()
        rows = self._raw.execute("SELECT item FROM items WHERE task = ? AND state != 2 ORDER BY item", (seq,))
        items = tuple(item for (item,) in rows)
        readable, _ = task_codec.dump_failure(failure)
        self._raw.execute(
            "UPDATE items SET state = 2, outcome = ?, ended_at = ?, failure = ?, secret = NULL, node_uid = NULL "
            "WHERE task = ? AND state != 2",
            (outcome, at, readable, seq),
        )
        self._raw.execute(
            "UPDATE tasks SET cancelled = ?, open = 0, failed = failed + ? WHERE seq = ? AND finished_at IS NULL",
            (outcome == CANCELLED, len(items), seq),
        )
        self._finish(seq, at)
        return items

    def results(self, seq: int, skip: frozenset[int], limit: int) -> tuple[Result, ...]:
        rows = self._raw.execute("SELECT item FROM items WHERE task = ? AND state = 2 ORDER BY item", (seq,))
        wanted = [item for (item,) in rows if item not in skip][:limit]
        (uid,) = self._raw.execute("SELECT uid FROM tasks WHERE seq = ?", (seq,)).fetchone()
        select = "SELECT item, outcome, attempt, node, value, failure, exception FROM items WHERE task = ? AND item = ?"
        return tuple(task_codec.to_result(uid, self._raw.execute(select, (seq, item)).fetchone()) for item in wanted)

    def set_ranks(self, seq: int, ranks: Sequence[Rank]) -> None:
        self._check_writable()
        self._raw.execute("UPDATE tasks SET ranks = ? WHERE seq = ?", (task_codec.dump_ranks(ranks), seq))

    def items(self, seq: int, start: int, limit: int) -> tuple[TaskItem, ...]:
        attempts: dict[int, list[TaskAttempt]] = defaultdict(list)
        page = (seq, start, start + limit)
        for item, *columns in self._raw.execute(
            "SELECT item, attempt, node, outcome, at, seconds, failure FROM attempts "
            "WHERE task = ? AND item >= ? AND item < ? ORDER BY item, attempt",
            page,
        ):
            attempts[item].append(task_codec.to_attempt(item, *columns))
        rows = self._raw.execute(
            "SELECT item, state, outcome, node, attempt, seconds, ended_at, failure FROM items "
            "WHERE task = ? AND item >= ? AND item < ? ORDER BY item",
            page,
        )
        return tuple(task_codec.to_item(*row, attempts=tuple(attempts[row[0]])) for row in rows)

    # --- retention ---------------------------------------------------------------------------------------------

    def expired(self, now: float, keep: int, limit: int) -> tuple[int, ...]:
        rows = self._raw.execute(
            "SELECT seq FROM tasks WHERE finished_at IS NOT NULL AND (finished_at + iif(ttl_s > 0, ttl_s, ?) < ? "
            "OR finished_at < (SELECT finished_at FROM tasks WHERE finished_at IS NOT NULL "
            "ORDER BY finished_at DESC LIMIT 1 OFFSET ?)) ORDER BY finished_at LIMIT ?",
            (ORDINARY.ttl_s, now, keep - 1, limit),
        )
        return tuple(seq for (seq,) in rows)

    def remove(self, seqs: Sequence[int]) -> None:
        self._check_writable()
        for seq in seqs:
            blob_rows.forget(self._raw, seq)
            self._raw.execute("DELETE FROM arguments WHERE task = ?", (seq,))
            self._raw.execute("DELETE FROM items WHERE task = ?", (seq,))
            self._raw.execute("DELETE FROM attempts WHERE task = ?", (seq,))
            self._raw.execute("DELETE FROM tasks WHERE seq = ?", (seq,))

    # --- blobs -------------------------------------------------------------------------------------------------

    def named_blobs(self, digests: Collection[str]) -> frozenset[str]:
        return blob_rows.named(self._raw, digests)

    def names_blob(self, tasks: Collection[str], digest: str) -> bool:
        return blob_rows.is_named_by(self._raw, digest, tasks)

    # --- functions ---------------------------------------------------------------------------------------------

    def put_function(self, digest: str, data: bytes, at: float) -> None:
        self._check_writable()
        self._raw.execute(
            "INSERT INTO functions VALUES (?, ?, ?) ON CONFLICT (digest) DO UPDATE SET put_at = excluded.put_at",
            (digest, data, at),
        )

    def function(self, digest: str) -> bytes | None:
        row = self._raw.execute("SELECT data FROM functions WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else bytes(row[0])

    def known_functions(self, digests: Collection[str]) -> frozenset[str]:
        found = batches.select(self._raw, _OF_DIGESTS, [(digest,) for digest in digests])
        return frozenset(digest for (digest,) in found)

    def drop_functions(self, before: float) -> int:
        self._check_writable()
        return self._raw.execute(
            "DELETE FROM functions WHERE put_at < ? AND digest NOT IN (SELECT function FROM tasks)", (before,)
        ).rowcount

    # --- inside ------------------------------------------------------------------------------------------------

    def _add_items(self, seq: int, start: int, end: int) -> None:
        if end > start:
            self._raw.execute(
                _COUNTED_ITEMS,
                (start, end, seq),
            )

    def _tally(self, seq: int, tally: _Tally) -> None:
        ended = tally.succeeded + tally.failed
        self._raw.execute(
            "UPDATE tasks SET succeeded = succeeded + ?, failed = failed + ?, seconds = seconds + ?, "
            "cost_usd = cost_usd + ?, finished_at = CASE "
            "WHEN open = 0 AND succeeded + failed + ? = items THEN ? ELSE finished_at END WHERE seq = ?",
            (tally.succeeded, tally.failed, tally.seconds, tally.cost_usd, ended, tally.at, seq),
        )
        if tally.notes:
            (stored,) = self._raw.execute("SELECT failures FROM tasks WHERE seq = ?", (seq,)).fetchone()
            notes = (*task_codec.parse_failures(stored), *tally.notes)[-KEPT_FAILURES:]
            self._raw.execute("UPDATE tasks SET failures = ? WHERE seq = ?", (task_codec.dump_failures(notes), seq))

    def _finish(self, seq: int, at: float) -> None:
        self._raw.execute(
            "UPDATE tasks SET finished_at = ? WHERE seq = ? AND finished_at IS NULL AND open = 0 "
            "AND succeeded + failed = items",
            (at, seq),
        )

    def _task(self, where: str, *parameters: object) -> TaskRow | None:
        rows = self._tasks(where, *parameters)
        return rows[0] if rows else None

    def _tasks(self, where: str, *parameters: object) -> tuple[TaskRow, ...]:
        statement = f"SELECT {task_codec.COLUMNS} FROM tasks WHERE {where} ORDER BY seq"  # noqa: S608 (constants)
        return tuple(task_codec.from_row(row) for row in self._raw.execute(statement, parameters))


@dataclass(slots=True)
class _Tally:
    """What one batch changes of one task."""

    succeeded: int = 0
    failed: int = 0
    at: float = 0.0
    seconds: float = 0.0
    cost_usd: float = 0.0
    notes: list[TaskFailure] = field(default_factory=list)

    def count(self, row: EndRow) -> None:
        self.seconds += row.seconds
        self.cost_usd += row.cost_usd
        self.at = max(self.at, row.at)
        if row.outcome == SUCCEEDED:
            self.succeeded += 1
        elif row.outcome:
            self.failed += 1
        if row.note is not None:
            self.notes.append(row.note)


def _end_values(row: EndRow) -> batches.Row:
    failure, exception = task_codec.dump_failure(row.failure)
    return (
        row.seq,
        row.item,
        _QUEUED if row.queued else _LEASED,
        row.attempt,
        None if row.queued else row.secret,
        _ENDED if row.outcome else _QUEUED,
        row.counted,
        row.outcome or None,
        row.at if row.outcome else None,
        row.node if row.outcome else None,
        row.value if row.outcome else None,
        failure if row.outcome else None,
        exception if row.outcome else None,
        row.seconds if row.outcome else None,
        row.ready_at,
    )


def _attempt(row: EndRow) -> batches.Row:
    assert row.note is not None
    left = row.evidence or Failure(row.note.outcome, row.note.message)
    readable = task_codec.dump_readable(left)
    return (row.seq, row.item, row.attempt, row.note.node, row.note.outcome, row.at, row.seconds, readable)
