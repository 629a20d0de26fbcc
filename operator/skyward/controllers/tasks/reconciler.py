"""One key per node uid, and one for what has no node: old tasks, and tasks whose pool is gone.

An agent that is silent loses its attempts only when its lease has run out; one whose instance is proved lost, or whose
row is gone, loses them at once. Whatever it reports later is superseded.
"""

from __future__ import annotations

import structlog

from skyward.api import Node, Pool
from skyward.controllers.deps import Deps
from skyward.facts import AgentSession
from skyward.kit.controller import DONE, After, Next
from skyward.kit.steady import steady
from skyward_agent.wire.messages import NODE_LOST

_log = structlog.get_logger()
COLLECT = "collect"
_COLLECT_EVERY_S = 60.0


class TasksReconciler:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._clock = steady(deps.clock)
        self._collected_at: float | None = None

    async def reconcile(self, key: str) -> Next:
        if key != COLLECT:
            return await self._release(key)
        await self._drop_orphans()
        await self._collect()
        return DONE

    async def _drop_orphans(self) -> None:
        """An operator that died at the wrong moment left tasks of a pool that is no more: nothing would ever run them."""
        for pool in sorted(self._deps.queue.pools()):
            if self._deps.cache.get(Pool, pool) is None:
                _log.warning("dropping tasks of a pool that is gone", pool=pool)
                await self._deps.queue.drop_pool(pool)

    async def _collect(self) -> None:
        now = self._deps.clock.monotonic()
        if self._collected_at is not None and now - self._collected_at < _COLLECT_EVERY_S:
            return
        removed = await self._deps.queue.collect(self._clock.age_now)
        self._collected_at = now
        if removed:
            _log.info("tasks collected", count=removed)

    async def _release(self, node_uid: str) -> Next:
        """An agent that holds nothing may still be what a broadcast waits for: when its node is gone, for nothing."""
        node = self._deps.cache.node_by_uid(node_uid)
        held = self._deps.queue.held(node_uid)
        if not held and (node is not None or node_uid not in self._deps.queue.holders()):
            return DONE
        why, wait_s = self._verdict(node_uid, node)
        if why is None:
            return DONE if wait_s is None else After(wait_s, "its agent may come back within its lease")
        _log.warning("releasing attempts", node_uid=node_uid, count=held, reason=why)
        await self._deps.queue.release(node_uid, NODE_LOST, why, gone=node is None)
        return DONE

    def _verdict(self, node_uid: str, node: Node | None) -> tuple[str | None, float | None]:
        """Why its attempts are lost, or how long to wait before that may be said."""
        if node is None:
            return "its node is gone", None
        name = node.metadata.name
        instance = self._deps.listings.instance(node.status.provider, node.status.provider_id)
        if instance is not None and instance.state.is_lost:
            return f"the instance of node {name} is {instance.state}", None
        session = self._deps.link.session(node_uid)
        if session is not None and session.connected:
            return None, None
        left_s = self._silent_since(session) + self._deps.durations.lease_s - self._deps.clock.now()
        if left_s > 0:
            return None, left_s
        return f"the agent of node {name} was silent for {self._deps.durations.lease_s:g} s", None

    def _silent_since(self, session: AgentSession | None) -> float:
        """After a restart of the operator, or a jump of the clock, every agent has a whole lease to come back."""
        return self._clock.began if session is None else max(session.since, self._clock.began)
