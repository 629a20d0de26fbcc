"""Tasks as the API shows them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, cast

from skyward.api import (
    Condition,
    ItemCounts,
    ObjectMeta,
    Provenance,
    Task,
    TaskPhase,
    TaskSpec,
    TaskStatus,
    Time,
    to_time,
)
from skyward.contracts import TaskRow
from skyward.queue.live import LiveTask


def to_task(row: TaskRow, live: LiveTask | None, conditions: tuple[Condition, ...] = ()) -> Task:
    """From memory while it is unfinished, from its row afterwards."""
    return Task(
        metadata=ObjectMeta(
            name=row.name, namespace=row.namespace, uid=row.uid, creation_timestamp=to_time(row.created_at)
        ),
        spec=_spec(row),
        status=(_finished(row) if live is None else _unfinished(live)).replace(
            provenance=Provenance(
                function=row.function,
                pool_generation=row.pool_generation,
                template_hash=row.template_hash,
                submitter=row.submitter,
            ),
            conditions=conditions,
        ),
    )


def _spec(row: TaskRow) -> TaskSpec:
    policy = row.policy
    loss = cast(Literal["retry", "fail", "replaceRank"], policy.on_node_loss)
    return TaskSpec(
        pool=row.pool.partition("/")[2],
        mode=cast(Literal["run", "map", "broadcast"], row.mode),
        function=row.function,
        name=row.function_name,
        delivery=cast(Literal["at-least-once", "at-most-once"], policy.delivery),
        max_attempts=row.max_attempts,
        retry_on=policy.retry_on,
        max_retries=policy.max_retries,
        retry_causes=policy.retry_causes,
        timeout=None if row.timeout_s is None else _duration(row.timeout_s),
        deadline=_time(policy.deadline_at),
        priority=row.priority,
        fairness_key=policy.fairness_key or row.submitter,
        selector=policy.selector,
        on_node_loss=loss if row.mode == "broadcast" else None,
        env=row.env,
        ttl_after_finished=_duration(policy.ttl_s),
    )


def _finished(row: TaskRow) -> TaskStatus:
    phase = TaskPhase.CANCELLED if row.cancelled else TaskPhase.FAILED if row.failed else TaskPhase.SUCCEEDED
    return TaskStatus(
        phase=phase if row.finished_at is not None else TaskPhase.QUEUED,
        items=ItemCounts(queued=row.items - row.succeeded - row.failed, succeeded=row.succeeded, failed=row.failed),
        failures=row.failures,
        started_at=_time(row.started_at),
        finished_at=_time(row.finished_at),
        seconds=row.seconds,
        cost=_usd(row.cost_usd),
    )


def _unfinished(live: LiveTask) -> TaskStatus:
    return TaskStatus(
        phase=TaskPhase.QUEUED if live.started_at is None else TaskPhase.RUNNING,
        items=ItemCounts(queued=live.queued, running=len(live.held), succeeded=live.succeeded, failed=live.failed),
        failures=live.failures,
        started_at=_time(live.started_at),
        nodes=tuple(sorted({held.node for held in live.held.values()})),
        seconds=live.seconds,
        cost=_usd(live.cost_usd),
    )


def _usd(amount: float) -> str:
    return f"{Decimal(amount).quantize(Decimal('0.000001')).normalize():f}"


def _time(seconds: float | None) -> Time | None:
    return None if seconds is None else to_time(seconds)


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
