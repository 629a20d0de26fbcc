"""Decisions as rows: the history that `why` tells."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from skyward.api import Reason
from skyward.facts import Decision, DecisionKind, DecisionRecord

_Row = tuple[str, str, str, str, str, str, str, str, str, float, float | None, int]
_SELECT = "SELECT kind, uid, key, verdict, rule, reason, message, inputs, target, at, until, count FROM decisions "
_PUT = (
    "INSERT INTO decisions (kind, uid, key, verdict, rule, reason, message, inputs, target, at, until, count) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uid, verdict, rule, target, at) DO UPDATE SET "
    "until = excluded.until, kind = excluded.kind, key = excluded.key, reason = excluded.reason, "
    "message = excluded.message, inputs = excluded.inputs, count = excluded.count"
)


def of_object(raw: sqlite3.Connection, uid: str) -> tuple[DecisionRecord, ...]:
    """Oldest first."""
    return _parse_all(raw.execute(_SELECT + "WHERE uid = ? ORDER BY at, rule, target", (uid,)))


def of_name(raw: sqlite3.Connection, kind: str, key: str) -> tuple[DecisionRecord, ...]:
    """Of every object that had this name, oldest first."""
    return _parse_all(raw.execute(_SELECT + "WHERE key = ? AND kind = ? ORDER BY at, rule, target", (key, kind)))


def last(raw: sqlite3.Connection, uid: str, decision: Decision) -> DecisionRecord | None:
    found = raw.execute(
        _SELECT + "WHERE uid = ? AND verdict = ? AND rule = ? AND target = ? ORDER BY at DESC LIMIT 1",
        (uid, decision.kind.value, decision.rule, decision.target),
    ).fetchone()
    return None if found is None else _parse(*found)


def standing(raw: sqlite3.Connection) -> tuple[DecisionRecord, ...]:
    return _parse_all(raw.execute(_SELECT + "WHERE until IS NULL ORDER BY at"))


def put(raw: sqlite3.Connection, record: DecisionRecord) -> None:
    decision = record.decision
    what = (decision.kind.value, decision.rule, decision.reason.value, decision.message, json.dumps(decision.inputs))
    raw.execute(
        _PUT,
        (record.kind, record.uid, record.key, *what, decision.target, record.at, record.until, record.count),
    )


def drop(raw: sqlite3.Connection, before: float, keep: int) -> int:
    """What stands is kept whatever its age."""
    aged = raw.execute("DELETE FROM decisions WHERE until < ?", (before,)).rowcount
    crowded = raw.execute("SELECT uid FROM decisions GROUP BY uid HAVING count(*) > ?", (keep,)).fetchall()
    for (uid,) in crowded:
        edge = raw.execute(
            "SELECT at FROM decisions WHERE uid = ? AND until IS NOT NULL ORDER BY at DESC LIMIT 1 OFFSET ?",
            (uid, keep),
        ).fetchone()
        if edge is not None:
            ended = "DELETE FROM decisions WHERE uid = ? AND until IS NOT NULL AND at <= ?"
            aged += raw.execute(ended, (uid, edge[0])).rowcount
    return aged


def _parse_all(rows: Iterable[_Row]) -> tuple[DecisionRecord, ...]:
    return tuple(_parse(*row) for row in rows)


def _parse(
    kind: str,
    uid: str,
    key: str,
    verdict: str,
    rule: str,
    reason: str,
    message: str,
    inputs: str,
    target: str,
    at: float,
    until: float | None,
    count: int,
) -> DecisionRecord:
    said = tuple((name, value) for name, value in json.loads(inputs))
    decision = Decision(DecisionKind(verdict), rule, Reason(reason), message, said, target)
    return DecisionRecord(kind, uid, key, decision, at, until, count)
