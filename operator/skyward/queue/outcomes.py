"""How an attempt ends: for good, or tried again. Pure."""

from __future__ import annotations

from skyward.api import TaskFailure, to_time
from skyward.contracts import EndRow
from skyward.queue.live import Held, LiveTask
from skyward.queue.submission import LARGEST_PAYLOAD
from skyward_agent.wire.messages import (
    DEAD_LETTER,
    FAILED,
    INFRASTRUCTURE,
    NODE_LOST,
    OUTCOMES,
    SUCCEEDED,
    Failure,
    Report,
)

_UNSTARTED = 100
"""Attempts of one item that may be lost before they start; from then on they count, so that none goes on for ever."""
_MESSAGE_CHARACTERS = 500


def reported(held: Held, report: Report, at: float) -> EndRow:
    """What its agent says. A report is proof enough that the attempt started."""
    if len(report.value) > LARGEST_PAYLOAD:
        text = (
            f"the result has {len(report.value)} bytes, more than {LARGEST_PAYLOAD}: return less, or write it to a file"
        )
        return _ended(held, FAILED, at, failure=Failure("skyward.errors.PayloadTooLarge", text))
    if report.outcome not in OUTCOMES or report.outcome == DEAD_LETTER:
        text = f"the agent reported an outcome that does not exist: {report.outcome!r}"
        return _ended(held, FAILED, at, failure=Failure(FAILED, text))
    return _ended(held, report.outcome, at, value=report.value, failure=report.failure)


def lost(held: Held, outcome: str, message: str, at: float) -> EndRow:
    """Its node or agent is gone. A broadcast's rank is frozen: no other node takes the place of a lost one."""
    failure = Failure(outcome, message)
    if outcome == NODE_LOST and held.task.row.ranks:
        return _ended(held, outcome, at, failure=failure, may_retry=False)
    _, counted = held.task.tries.get(held.item, (0, 0))
    counts = held.started or held.attempt - counted > _UNSTARTED
    return _ended(held, outcome, at, failure=failure, counts=counts)


def returned(held: Held, at: float) -> EndRow:
    """It never began: the item waits again, as if this attempt had not been."""
    _, counted = held.task.tries.get(held.item, (0, 0))
    return EndRow(held.task.row.seq, held.item, held.attempt, held.secret, counted, at)


def unreachable(task: LiveTask, item: int, outcome: str, message: str, at: float) -> EndRow:
    """A broadcast's item whose node is lost before it took it."""
    rank = task.row.ranks[item]
    attempt, counted = task.tries.get(item, (0, 0))
    note = _note(item, attempt, rank.node, outcome, message, at)
    return EndRow(
        seq=task.row.seq,
        item=item,
        attempt=attempt,
        secret="",
        counted=counted,
        at=at,
        outcome=outcome,
        queued=True,
        node=rank.node,
        failure=Failure(outcome, message),
        note=note,
    )


def _ended(
    held: Held,
    outcome: str,
    at: float,
    *,
    value: bytes = b"",
    failure: Failure | None = None,
    counts: bool = True,
    may_retry: bool = True,
) -> EndRow:
    _, counted = held.task.tries.get(held.item, (0, 0))
    counted += counts
    note = None
    if outcome != SUCCEEDED and counts:
        failure = failure or Failure(outcome, "")
        note = _note(held.item, held.attempt, held.node, outcome, failure.message, at)
    if outcome in INFRASTRUCTURE and may_retry:
        if counted < held.task.row.max_attempts:
            outcome, value, failure = "", b"", None
        elif held.task.row.max_attempts > 1:
            outcome, failure = DEAD_LETTER, _evidence(outcome, failure, held, counted)
    return EndRow(
        seq=held.task.row.seq,
        item=held.item,
        attempt=held.attempt,
        secret=held.secret,
        counted=counted,
        at=at,
        outcome=outcome,
        node=held.node,
        value=value if outcome == SUCCEEDED else b"",
        failure=None if outcome == SUCCEEDED else failure,
        note=note,
    )


def _evidence(outcome: str, last: Failure | None, held: Held, counted: int) -> Failure:
    """What a dead letter shows: the last failure, and how often it was tried."""
    last = last or Failure(outcome, "")
    detail = f": {last.message}" if last.message else ""
    return Failure(
        DEAD_LETTER,
        f"given up after {counted} attempts; the last one ended as {outcome} on {held.node}{detail}",
        last.traceback,
        last.exception,
        {**last.evidence, "outcome": outcome, "attempts": str(counted), "node": held.node},
    )


def _note(item: int, attempt: int, node: str, outcome: str, message: str, at: float) -> TaskFailure:
    return TaskFailure(
        item=item, attempt=attempt, node=node, outcome=outcome, message=message[:_MESSAGE_CHARACTERS], at=to_time(at)
    )
