"""Tasks as the API shows them."""

from __future__ import annotations

from typing import Literal, cast

from skyward.api import ItemCounts, ObjectMeta, Task, TaskPhase, TaskSpec, TaskStatus, Time, to_time
from skyward.contracts import TaskRow
from skyward.queue.live import LiveTask


def to_task(row: TaskRow, live: LiveTask | None) -> Task:
    """From memory while it is unfinished, from its row afterwards."""
    return Task(
        metadata=ObjectMeta(
            name=row.name, namespace=row.namespace, uid=row.uid, creation_timestamp=to_time(row.created_at)
        ),
        spec=TaskSpec(
            pool=row.pool.partition("/")[2],
            mode=cast(Literal["run", "map", "broadcast"], row.mode),
            function=row.function,
            name=row.function_name,
            max_attempts=row.max_attempts,
            timeout=None if row.timeout_s is None else _duration(row.timeout_s),
            priority=row.priority,
            env=row.env,
        ),
        status=_finished(row) if live is None else _unfinished(live),
    )


def _finished(row: TaskRow) -> TaskStatus:
    phase = TaskPhase.CANCELLED if row.cancelled else TaskPhase.FAILED if row.failed else TaskPhase.SUCCEEDED
    return TaskStatus(
        phase=phase if row.finished_at is not None else TaskPhase.QUEUED,
        items=ItemCounts(queued=row.items - row.succeeded - row.failed, succeeded=row.succeeded, failed=row.failed),
        failures=row.failures,
        started_at=_time(row.started_at),
        finished_at=_time(row.finished_at),
    )


def _unfinished(live: LiveTask) -> TaskStatus:
    return TaskStatus(
        phase=TaskPhase.QUEUED if live.started_at is None else TaskPhase.RUNNING,
        items=ItemCounts(queued=live.queued, running=len(live.held), succeeded=live.succeeded, failed=live.failed),
        failures=tuple(live.failures),
        started_at=_time(live.started_at),
        nodes=tuple(sorted({held.node for held in live.held.values()})),
    )


def _time(seconds: float | None) -> Time | None:
    return None if seconds is None else to_time(seconds)


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
