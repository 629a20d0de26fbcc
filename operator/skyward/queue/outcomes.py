"""How an attempt ends: for good, or tried again. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from skyward.api import TaskFailure, to_time
from skyward.contracts import EndRow
from skyward.queue.live import Held, LiveTask
from skyward.queue.submission import LARGEST_PAYLOAD
from skyward_agent.wire.messages import (
    CANCELLED,
    CHILD_DIED,
    DEAD_LETTER,
    FAIL,
    FAILED,
    INFRASTRUCTURE,
    NODE_LOST,
    OUTCOMES,
    RETRY,
    SUCCEEDED,
    Failure,
    Policy,
    Report,
)

_UNSTARTED = 100
"""Attempts of one item that may be lost before they start; from then on they count, so that none goes on for ever."""
_MESSAGE_CHARACTERS = 500


def reported(held: Held, report: Report, at: float, fraction: Callable[[], float]) -> EndRow:
    """What its agent says. A report is proof enough that the attempt started. `fraction` gives a number in [0, 1) by chance."""
    if len(report.value) > LARGEST_PAYLOAD:
        text = (
            f"the result has {len(report.value)} bytes, more than {LARGEST_PAYLOAD}: return less, or write it to a file"
        )
        return _ended(held, FAILED, at, failure=Failure("skyward.errors.PayloadTooLarge", text))
    if report.outcome not in OUTCOMES or report.outcome == DEAD_LETTER:
        text = f"the agent reported an outcome that does not exist: {report.outcome!r}"
        return _ended(held, FAILED, at, failure=Failure(FAILED, text))
    seconds, failure = max(0.0, report.seconds), report.failure
    if report.outcome == SUCCEEDED:
        return _ended(held, SUCCEEDED, at, value=report.value, seconds=seconds)
    row = _ended(held, report.outcome, at, failure=failure, seconds=seconds)
    if report.outcome in INFRASTRUCTURE or row.counted >= held.task.row.max_attempts:
        return row
    policy = held.task.row.policy
    if row.counted > policy.max_retries or not _is_asked_for(policy, report.outcome, failure):
        return row
    pause_s = min(policy.backoff_max_s, policy.backoff_s * 2.0 ** (row.counted - 1)) * (1 - fraction() / 2)
    return replace(row, outcome="", value=b"", failure=None, ready_at=at + pause_s)


def lost(held: Held, outcome: str, message: str, at: float, *, gone: bool) -> EndRow:
    """Its node or agent is lost. A broadcast's rank is frozen: whether it may wait, and for whom, is for the broadcast to say."""
    failure = Failure(outcome, message)
    seconds = max(0.0, at - held.since) if held.started and held.since else 0.0
    wish = held.task.row.policy.on_node_loss
    if outcome == NODE_LOST and held.task.ranks and (wish == FAIL or (wish == RETRY and gone)):
        return _ended(held, outcome, at, failure=failure, may_retry=False, seconds=seconds)
    _, counted = held.task.tries.get(held.item, (0, 0))
    counts = held.started or held.attempt - counted > _UNSTARTED
    return _ended(held, outcome, at, failure=failure, counts=counts, seconds=seconds if counts else 0.0)


def missing(held: Held, incarnation: str, message: str, at: float) -> EndRow:
    """The agent came back without it. What must not run twice is lost with the process that may have begun it; the same
    process never got it, or gave it back unheard."""
    if held.task.is_at_most_once and held.incarnation == incarnation:
        return returned(held, at)
    return lost(held, CHILD_DIED, message, at, gone=False)


def returned(held: Held, at: float) -> EndRow:
    """It never began: the item waits again, as if this attempt had not been."""
    _, counted = held.task.tries.get(held.item, (0, 0))
    return EndRow(held.task.row.seq, held.item, held.attempt, held.secret, counted, at)


def unreachable(task: LiveTask, item: int, outcome: str, message: str, at: float) -> EndRow:
    """A broadcast's item whose node is lost before it took it."""
    rank = task.ranks[item]
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
    seconds: float = 0.0,
) -> EndRow:
    _, counted = held.task.tries.get(held.item, (0, 0))
    counted += counts
    note = evidence = None
    if outcome != SUCCEEDED and counts:
        evidence = failure = failure or Failure(outcome, "")
        note = _note(held.item, held.attempt, held.node, outcome, failure.message, at, seconds)
    row = held.task.row
    if outcome in INFRASTRUCTURE and may_retry and (outcome in row.policy.retry_causes or not counts):
        if counted < row.max_attempts:
            outcome, value, failure = "", b"", None
        elif row.max_attempts > 1:
            outcome, failure = DEAD_LETTER, _evidence(outcome, failure, held, counted)
    return EndRow(
        seq=row.seq,
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
        evidence=evidence,
        seconds=seconds,
        cost_usd=seconds * held.usd_per_s,
    )


def _is_asked_for(policy: Policy, outcome: str, failure: Failure | None) -> bool:
    """What the user's code raised is among what it is to be tried again for."""
    if not policy.retry_on or outcome == CANCELLED:
        return False
    names = {outcome} if outcome != FAILED or failure is None else {failure.type, *failure.bases}
    return not names.isdisjoint(policy.retry_on)


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


def _note(
    item: int, attempt: int, node: str, outcome: str, message: str, at: float, seconds: float = 0.0
) -> TaskFailure:
    message = message[:_MESSAGE_CHARACTERS]
    return TaskFailure(
        item=item, attempt=attempt, node=node, outcome=outcome, message=message, at=to_time(at), seconds=seconds
    )
