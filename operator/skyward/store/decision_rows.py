"""Decisions as rows: the history that `why` tells."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from skyward.api import Reason
from skyward.facts import Decision, DecisionKind, DecisionRecord
from skyward.store.tables import DecisionTable

_TABLE = DecisionTable.metadata.tables["decisions"]
_KEY = ("uid", "verdict", "rule", "target", "at")


def of_object(sql: Connection, uid: str) -> tuple[DecisionRecord, ...]:
    """Oldest first."""
    rows = sql.execute(select(_TABLE).where(_TABLE.c.uid == uid).order_by(_TABLE.c.at, _TABLE.c.rule, _TABLE.c.target))
    return _parse_all(rows)


def of_name(sql: Connection, kind: str, key: str) -> tuple[DecisionRecord, ...]:
    """Of every object that had this name, oldest first."""
    named = select(_TABLE).where(_TABLE.c["key"] == key, _TABLE.c.kind == kind)
    return _parse_all(sql.execute(named.order_by(_TABLE.c.at, _TABLE.c.rule, _TABLE.c.target)))


def last(sql: Connection, uid: str, decision: Decision) -> DecisionRecord | None:
    same = (uid, decision.kind.value, decision.rule, decision.target)
    columns = (_TABLE.c.uid, _TABLE.c.verdict, _TABLE.c.rule, _TABLE.c.target)
    conditions = (column == value for column, value in zip(columns, same, strict=True))
    found = sql.execute(select(_TABLE).where(*conditions).order_by(_TABLE.c.at.desc()).limit(1)).first()
    return None if found is None else _parse(found)


def standing(sql: Connection) -> tuple[DecisionRecord, ...]:
    return _parse_all(sql.execute(select(_TABLE).where(_TABLE.c.until.is_(None)).order_by(_TABLE.c.at)))


def put(sql: Connection, record: DecisionRecord) -> None:
    decision = record.decision
    values = {
        "until": record.until,
        "kind": record.kind,
        "key": record.key,
        "reason": decision.reason.value,
        "message": decision.message,
        "inputs": json.dumps(decision.inputs),
        "count": record.count,
    }
    key = (record.uid, decision.kind.value, decision.rule, decision.target, record.at)
    statement = insert(_TABLE).values(**dict(zip(_KEY, key, strict=True)), **values)
    sql.execute(statement.on_conflict_do_update(index_elements=list(_KEY), set_=values))


def drop(sql: Connection, before: float, keep: int) -> int:
    """What stands is kept whatever its age."""
    aged = sql.execute(delete(_TABLE).where(_TABLE.c.until < before)).rowcount
    crowded = select(_TABLE.c.uid).group_by(_TABLE.c.uid).having(func.count() > keep)
    for (uid,) in sql.execute(crowded).all():
        ended = _TABLE.c.until.is_not(None)
        newest = (
            select(_TABLE.c.at).where(_TABLE.c.uid == uid, ended).order_by(_TABLE.c.at.desc()).offset(keep).limit(1)
        )
        edge = sql.execute(newest).scalar()
        if edge is not None:
            aged += sql.execute(delete(_TABLE).where(_TABLE.c.uid == uid, ended, _TABLE.c.at <= edge)).rowcount
    return aged


def _parse_all(rows: Iterable[Row[Any]]) -> tuple[DecisionRecord, ...]:
    return tuple(_parse(row) for row in rows)


def _parse(row: Row[Any]) -> DecisionRecord:
    inputs = tuple((name, value) for name, value in json.loads(row.inputs))
    decision = Decision(DecisionKind(row.verdict), row.rule, Reason(row.reason), row.message, inputs, row.target)
    # A row's own `count` and `key` are methods of the tuple that it is.
    return DecisionRecord(row.kind, row.uid, row._mapping["key"], decision, row.at, row.until, row._mapping["count"])
