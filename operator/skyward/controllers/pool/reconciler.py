"""Spec, nodes and listings go into one picture; `plan_pool` answers with rows; they are committed together or not at all."""

from __future__ import annotations

from dataclasses import replace

import structlog

from skyward.api import Pool, PoolCondition
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.controllers.node.registration import configure_agents
from skyward.controllers.observe import Observer
from skyward.controllers.pool.deletion import hindrance, remove_pool
from skyward.controllers.pool.records import PoolWriter
from skyward.controllers.pool.status import pool_status
from skyward.facts import ObservedPool
from skyward.kit.controller import DONE, After, Next
from skyward.planner import PoolPlan, plan_pool

_log = structlog.get_logger()
_CHANGED = After(0.0, "the pool changed while it was looked at")
_GOING_RETRY_S = 2.0
_WORKING_LOOK_S = 2.0
"""A pool that has work looks again this often: nobody tells when queued work begins to run."""


class PoolReconciler:
    def __init__(self, deps: Deps, launches: LaunchBook, observer: Observer) -> None:
        self._deps = deps
        self._launches = launches
        self._observer = observer
        self._writer = PoolWriter(deps.ids)

    async def reconcile(self, key: str) -> Next:
        pool = self._deps.cache.get(Pool, key)
        if pool is None:
            return DONE
        deleting = pool.metadata.deletion_timestamp is not None
        if deleting and any(self._deps.queue.counts(key)):
            await self._deps.queue.drop_pool(key)  # deleting a pool stops its work at once
            pool = self._deps.cache.get(Pool, key)
            if pool is None:
                return DONE
        observed = self._observer.pool(pool)
        configure_agents(self._deps, pool, (one.node for one in observed.nodes))
        plan = plan_pool(observed, self._deps.clock.now())
        if deleting and not observed.nodes:
            return await self._end(observed, plan)
        return await self._record(observed, plan)

    async def _record(self, observed: ObservedPool, plan: PoolPlan) -> Next:
        pool, now = observed.pool, self._deps.clock.now()
        status = pool_status(self._deps, observed, plan, now)
        if plan.actions or status != pool.status:
            self._log_actions(pool, plan)
            written = await self._deps.store.run(
                lambda tx: self._writer.apply(tx, pool, plan.actions, status, now), power_safe=bool(plan.actions)
            )
            if not written:
                return _CHANGED
        working_s = _WORKING_LOOK_S if status.queued or status.running else None
        waits = [wait_s for wait_s in (plan.requeue_after_s, working_s) if wait_s is not None]
        return After(min(waits), "as planned, or to count its work") if waits else DONE

    async def _end(self, observed: ObservedPool, plan: PoolPlan) -> Next:
        """No node is left: the row goes too, or says what it still waits for."""
        pool = observed.pool
        reason = hindrance(self._deps, self._launches, pool)
        if reason is not None:
            await self._record(observed, _with_reason(plan, reason))
            return After(_GOING_RETRY_S, reason)
        if not await remove_pool(self._deps, self._launches, pool):
            return _CHANGED
        _log.info("pool gone", pool=pool.key)
        return DONE

    def _log_actions(self, pool: Pool, plan: PoolPlan) -> None:
        for action in plan.actions:
            _log.info(
                "pool planned",
                pool=pool.key,
                action=type(action).__name__,
                target=getattr(action, "node", getattr(action, "slot", "")),
                reason=action.reason,
                message=action.message,
            )


def _with_reason(plan: PoolPlan, reason: str) -> PoolPlan:
    conditions = (
        replace(update, message=reason) if update.type == PoolCondition.DELETING else update
        for update in plan.conditions
    )
    return replace(plan, conditions=tuple(conditions))
