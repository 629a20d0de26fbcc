"""Between task rows as the contract has them and the columns that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from skyward.api import TaskFailure
from skyward.contracts import Rank, TaskRow
from skyward_agent.wire.messages import Failure, Result

_NAMES = (
    "uid",
    "namespace",
    "name",
    "submitter",
    "key",
    "fingerprint",
    "pool",
    "mode",
    "function",
    "function_name",
    "max_attempts",
    "timeout_s",
    "priority",
    "env",
    "stream",
    "ranks",
    "items",
    "open",
    "created_at",
    "started_at",
    "finished_at",
    "succeeded",
    "failed",
    "cancelled",
    "failures",
)
COLUMNS = ", ".join(("seq", *_NAMES))
INSERT = f"INSERT INTO tasks ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))})"  # noqa: S608 (constants)


def to_row(task: TaskRow) -> tuple[object, ...]:
    """In the order of INSERT."""
    encoded: dict[str, object] = {
        "env": json.dumps(task.env) if task.env else "{}",
        "ranks": json.dumps([[rank.node_uid, rank.node, rank.address] for rank in task.ranks]) if task.ranks else "[]",
        "failures": dump_failures(task.failures),
    }
    return tuple(encoded[name] if name in encoded else getattr(task, name) for name in _NAMES)


def from_row(row: Sequence[Any]) -> TaskRow:
    """In the order of COLUMNS."""
    seq, *rest = row
    columns = dict(zip(_NAMES, rest, strict=True))
    columns["env"] = json.loads(columns["env"])
    columns["ranks"] = tuple(Rank(*rank) for rank in json.loads(columns["ranks"]))
    columns["failures"] = parse_failures(columns["failures"])
    for name in ("stream", "open", "cancelled"):
        columns[name] = bool(columns[name])
    return TaskRow(seq=seq, **columns)


def dump_failures(failures: Sequence[TaskFailure]) -> str:
    return json.dumps([failure.to_json() for failure in failures]) if failures else "[]"


def parse_failures(text: str) -> tuple[TaskFailure, ...]:
    return () if text == "[]" else tuple(TaskFailure.model_validate(value) for value in json.loads(text))


def dump_failure(failure: Failure | None) -> tuple[str | None, bytes | None]:
    """Its readable part as JSON, and the pickled exception as it came: the operator never looks into that."""
    if failure is None:
        return None, None
    readable = [failure.type, failure.message, failure.traceback, failure.evidence]
    return json.dumps(readable), failure.exception or None


def to_result(task: str, row: tuple[int, str, int, str | None, bytes | None, str | None, bytes | None]) -> Result:
    item, outcome, attempt, node, value, readable, exception = row
    failure = None
    if readable is not None:
        type_, message, traceback, evidence = json.loads(readable)
        failure = Failure(type_, message, traceback, exception or b"", evidence)
    return Result(task, item, outcome, attempt, node or "", value or b"", failure)
