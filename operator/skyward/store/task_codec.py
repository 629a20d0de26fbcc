"""Between task rows as the contract has them and the columns that hold them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from skyward.api import TaskAttempt, TaskFailure, TaskItem, TaskPhase, to_time
from skyward.contracts import ORDINARY, Rank, TaskRow
from skyward_agent.wire.messages import CANCELLED, SUCCEEDED, Failure, Policy, Result

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
    "policy",
    "seconds",
    "cost_usd",
    "pool_generation",
    "template_hash",
)
_columns_of: Callable[[TaskRow], tuple[object, ...]] = attrgetter(*_NAMES)
_ENV, _RANKS, _FAILURES, _POLICY = (_NAMES.index(name) for name in ("env", "ranks", "failures", "policy"))
COLUMNS = ", ".join(("seq", *_NAMES))
INSERT = f"INSERT INTO tasks (seq, {', '.join(_NAMES)}, ttl_s)"


def to_row(task: TaskRow) -> tuple[object, ...]:
    """In the order of INSERT."""
    columns = list(_columns_of(task))
    columns[_ENV] = json.dumps(task.env) if task.env else "{}"
    columns[_RANKS] = dump_ranks(task.ranks) if task.ranks else "[]"
    columns[_FAILURES] = dump_failures(task.failures)
    columns[_POLICY] = _dump_policy(task.policy)
    return (task.seq, *columns, task.policy.ttl_s)


def from_row(row: Sequence[Any]) -> TaskRow:
    """In the order of COLUMNS."""
    seq, *rest = row
    columns = dict(zip(_NAMES, rest, strict=True))
    columns["env"] = json.loads(columns["env"])
    columns["ranks"] = tuple(Rank(*rank) for rank in json.loads(columns["ranks"]))
    columns["failures"] = parse_failures(columns["failures"])
    columns["policy"] = _parse_policy(columns["policy"])
    for name in ("stream", "open", "cancelled"):
        columns[name] = bool(columns[name])
    return TaskRow(seq=seq, **columns)


def dump_ranks(ranks: Sequence[Rank]) -> str:
    return json.dumps([[rank.node_uid, rank.node, rank.address] for rank in ranks])


def _dump_policy(policy: Policy) -> str:
    """What differs from an ordinary task's."""
    if policy is ORDINARY or policy == ORDINARY:
        return ""
    given = {field.name: getattr(policy, field.name) for field in fields(policy)}
    return json.dumps({name: value for name, value in given.items() if value != getattr(ORDINARY, name)})


def _parse_policy(text: str) -> Policy:
    if not text:
        return ORDINARY
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()
    }
    return replace(ORDINARY, **values)


def dump_failures(failures: Sequence[TaskFailure]) -> str:
    return json.dumps([failure.to_json() for failure in failures]) if failures else "[]"


def parse_failures(text: str) -> tuple[TaskFailure, ...]:
    return () if text == "[]" else tuple(TaskFailure.model_validate(value) for value in json.loads(text))


def dump_failure(failure: Failure | None) -> tuple[str | None, bytes | None]:
    """Its readable part as JSON, and the pickled exception as it came: the operator never looks into that."""
    if failure is None:
        return None, None
    return dump_readable(failure), failure.exception or None


def dump_readable(failure: Failure) -> str:
    return json.dumps([failure.type, failure.message, failure.traceback, failure.evidence])


def to_result(task: str, row: tuple[int, str, int, str | None, bytes | None, str | None, bytes | None]) -> Result:
    item, outcome, attempt, node, value, readable, exception = row
    failure = None
    if readable is not None:
        type_, message, traceback, evidence = json.loads(readable)
        failure = Failure(type_, message, traceback, exception or b"", evidence)
    return Result(task, item, outcome, attempt, node or "", value or b"", failure)


def to_attempt(
    item: int, attempt: int, node: str, outcome: str, at: float, seconds: float, readable: str
) -> TaskAttempt:
    type_, message, traceback, evidence = json.loads(readable)
    return TaskAttempt(
        item=item,
        attempt=attempt,
        node=node,
        outcome=outcome,
        message=message,
        at=to_time(at),
        seconds=seconds,
        type=type_,
        traceback=traceback,
        evidence=evidence,
    )


def to_item(
    index: int,
    state: int,
    outcome: str | None,
    node: str | None,
    attempt: int,
    seconds: float | None,
    ended_at: float | None,
    readable: str | None,
    *,
    attempts: tuple[TaskAttempt, ...],
) -> TaskItem:
    """`state` as in the table: queued, leased, ended."""
    ended = {SUCCEEDED: TaskPhase.SUCCEEDED, CANCELLED: TaskPhase.CANCELLED}.get(outcome or "", TaskPhase.FAILED)
    return TaskItem(
        index=index,
        phase=(TaskPhase.QUEUED, TaskPhase.RUNNING, ended)[state],
        outcome=outcome or "",
        node=(node or "") if state else "",
        attempt=attempt,
        seconds=seconds or 0.0,
        finished_at=None if ended_at is None else to_time(ended_at),
        message=json.loads(readable)[1] if readable else "",
        attempts=attempts,
    )
