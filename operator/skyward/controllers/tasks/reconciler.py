"""One key per node uid, and one for the collection of old tasks.

An agent that is silent loses its attempts only when its lease has run out; one whose instance is proved lost, or whose
row is gone, loses them at once. Whatever it reports later is superseded.
"""

from __future__ import annotations

import structlog

from skyward.controllers.deps import Deps
from skyward.facts import AgentSession
from skyward.kit.controller import DONE, After, Next
from skyward_agent.wire.messages import NODE_LOST

_log = structlog.get_logger()
COLLECT = "collect"
_COLLECT_EVERY_S = 60.0


class TasksReconciler:
    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._started_at = deps.clock.now()

    async def reconcile(self, key: str) -> Next:
        return await self._collect() if key == COLLECT else await self._release(key)

    async def _collect(self) -> Next:
        removed = await self._deps.queue.collect(self._deps.clock.now())
        if removed:
            _log.info("tasks collected", count=removed)
        return After(_COLLECT_EVERY_S, "finished tasks are kept for a while")

    async def _release(self, node_uid: str) -> Next:
        held = self._deps.queue.held(node_uid)
        if not held:
            return DONE
        why, wait_s = self._verdict(node_uid)
        if why is None:
            return DONE if wait_s is None else After(wait_s, "its agent may come back within its lease")
        _log.warning("releasing attempts", node_uid=node_uid, count=held, reason=why)
        await self._deps.queue.release(node_uid, NODE_LOST, why)
        return DONE

    def _verdict(self, node_uid: str) -> tuple[str | None, float | None]:
        """Why its attempts are lost, or how long to wait before that may be said."""
        node = self._deps.cache.node_by_uid(node_uid)
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
        """After a restart of the operator every agent has a whole lease to come back."""
        return self._started_at if session is None else session.since
