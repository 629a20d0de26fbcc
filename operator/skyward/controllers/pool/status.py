"""A pool's status, counted anew in every pass."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from skyward.api import NodeStatus, PoolStatus, template_hash
from skyward.controllers.deps import Deps
from skyward.facts import ObservedPool
from skyward.planner import PoolPlan, apply_updates, is_gone


def pool_status(deps: Deps, observed: ObservedPool, plan: PoolPlan, now: float) -> PoolStatus:
    """Equal to the stored one when nothing changed. What intake wrote (file, revision, Accepted) stays."""
    pool = observed.pool
    counts = plan.counts
    queued, running = deps.queue.counts(pool.key)
    generation = pool.metadata.generation
    return pool.status.replace(
        observed_generation=generation,
        nodes=counts.nodes,
        ready=counts.ready,
        available=counts.available,
        up_to_date=counts.up_to_date,
        pending=counts.pending,
        busy=sum(node.held > 0 for node in observed.nodes),
        queued=queued,
        running=running,
        hourly_cost=_hourly_cost(observed),
        offering=_offerings(observed),
        template_hash=template_hash(pool.spec),
        conditions=apply_updates(pool.status.conditions, plan.conditions, now, generation),
    )


def _costly(observed: ObservedPool) -> Iterator[NodeStatus]:
    """Of everything that may still cost money: every bound instance that is not proved gone, whatever a listing says."""
    return (one.node.status for one in observed.nodes if one.node.status.provider_id and not is_gone(one.node))


def _hourly_cost(observed: ObservedPool) -> str:
    total = sum((Decimal(status.hourly_cost) for status in _costly(observed)), Decimal(0))
    return f"{total.normalize():f}"


def _offerings(observed: ObservedPool) -> str:
    return ", ".join(sorted({status.offering for status in _costly(observed)}))
