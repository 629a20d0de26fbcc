"""Spec, nodes and listings go into one picture; `plan_pool` answers with rows; they are committed together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import structlog

from skyward.api import Node, Pool, PoolCondition, Reason
from skyward.contracts import Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook, Note
from skyward.controllers.node.hosts import keep_failures
from skyward.controllers.node.registration import Briefing
from skyward.controllers.observe import Observer
from skyward.controllers.pool.deletion import hindrance, remove_pool
from skyward.controllers.pool.records import PoolWriter, is_stale
from skyward.controllers.pool.revisions import RevisionBook, record_revision
from skyward.controllers.pool.status import pool_status
from skyward.facts import Decision, DecisionKind, ObservedPool
from skyward.kit.controller import DONE, After, Next
from skyward.kit.decisions import DecisionBook
from skyward.planner import ForgetNode, PoolPlan, plan_pool, pool_decisions

_log = structlog.get_logger()
_CHANGED = After(0.0, "the pool changed while it was looked at")
_GOING_RETRY_S = 2.0


class PoolReconciler:
    def __init__(self, deps: Deps, launches: LaunchBook, observer: Observer, decisions: DecisionBook) -> None:
        self._deps = deps
        self._decisions = decisions
        self._launches = launches
        self._observer = observer
        self._writer = PoolWriter(deps.ids)
        self._revisions = RevisionBook(deps.store)
        self._briefing = Briefing(deps)

    async def reconcile(self, key: str) -> Next:
        pool = self._deps.cache.get(Pool, key)
        if pool is None:
            await self._decisions.close(Pool, key)
            return DONE
        deleting = pool.metadata.deletion_timestamp is not None
        if deleting and any(self._deps.queue.counts(key)):
            await self._deps.queue.drop_pool(key)  # deleting a pool stops its work at once
            pool = self._deps.cache.get(Pool, key)
            if pool is None:
                return DONE
        observed = self._observer.pool(pool)
        self._briefing.tell(pool, (one.node for one in observed.nodes))
        plan = plan_pool(observed, self._deps.clock.now())
        if deleting and not observed.nodes:
            return await self._end(observed, plan)
        return await self._record(observed, plan)

    async def _record(self, observed: ObservedPool, plan: PoolPlan) -> Next:
        pool, now = observed.pool, self._deps.clock.now()
        is_new_template = await self._revisions.lacks(pool)
        status = pool_status(self._deps, observed, plan, now)
        entry = self._decisions.entry(pool, plan.decisions, pool_decisions(plan.actions), now=now)
        if plan.actions or status != pool.status or entry or is_new_template:
            self._log_actions(pool, plan)

            def work(tx: Transaction, note: Note) -> bool:
                deleting = pool.metadata.deletion_timestamp is not None  # whatever its nodes do, they leave
                if not deleting and is_stale(tx, (one.node for one in observed.nodes), plan.actions):
                    return False
                if not self._writer.apply(tx, pool, plan.actions, status, entry, now):
                    return False
                keep_failures(tx, note, _forgotten(observed, plan), now)
                if is_new_template:
                    record_revision(tx, pool, now)
                return True

            if not await self._launches.write(work, power_safe=bool(plan.actions)):
                return _CHANGED
            self._decisions.keep(entry)
            if is_new_template:
                self._revisions.keep(pool)
        return DONE if plan.requeue_after_s is None else After(plan.requeue_after_s, "as planned")

    async def _end(self, observed: ObservedPool, plan: PoolPlan) -> Next:
        """No node is left: the row goes too, or says what it still waits for."""
        pool = observed.pool
        reason = hindrance(self._deps, self._launches, pool)
        if reason is not None:
            await self._record(observed, _with_reason(plan, reason))
            return After(_GOING_RETRY_S, reason)
        if not await remove_pool(self._deps, self._launches, pool):
            return _CHANGED
        self._revisions.forget(pool)
        self._briefing.forget(pool)
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


def _forgotten(observed: ObservedPool, plan: PoolPlan) -> Iterator[Node]:
    names = {action.node for action in plan.actions if isinstance(action, ForgetNode)}
    return (one.node for one in observed.nodes if one.node.key in names)


def _with_reason(plan: PoolPlan, reason: str) -> PoolPlan:
    conditions = (
        replace(update, message=reason) if update.type == PoolCondition.DELETING else update
        for update in plan.conditions
    )
    waits = Decision(DecisionKind.WAIT, "until-gone", Reason.POOL_DELETED, reason)
    return replace(plan, conditions=tuple(conditions), decisions=(*plan.decisions, waits))
