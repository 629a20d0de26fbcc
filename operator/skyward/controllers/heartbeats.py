"""Heartbeats live in memory; now and then one batch tells the store about all nodes at once, and wakes nobody."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from skyward.api import Node, to_time
from skyward.contracts import Transaction
from skyward.controllers.deps import Deps
from skyward.errors import SkyError

_log = structlog.get_logger()

Beat = tuple[str, str, float]
"""Node key, node uid, when its agent was heard last."""


class Heartbeats:
    """A component; a node whose agent is silent costs nothing here."""

    name = "heartbeats"

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        while True:
            await self._deps.clock.sleep(self._deps.durations.heartbeat_s)
            try:
                await self._save()
            except SkyError as error:
                _log.warning("heartbeats not stored", error=str(error))

    async def _save(self) -> None:
        beats = self._news()
        if beats:
            await self._deps.store.run(lambda tx: _write(tx, beats))

    def _news(self) -> tuple[Beat, ...]:
        """Of agents that were heard since what is stored."""
        beats = []
        for uid, session in self._deps.link.sessions().items():
            node = self._deps.cache.node_by_uid(uid)
            if node is not None and session.last_heartbeat >= _stored(node) + 1.0:
                beats.append((node.key, uid, session.last_heartbeat))
        return tuple(beats)


def is_mere_heartbeat(before: Node, after: Node) -> bool:
    """Nothing that anybody decides from differs between these two versions of a node."""
    if before.spec != after.spec:
        return False
    silent = after.status.replace(last_heartbeat=before.status.last_heartbeat)
    versionless = after.metadata.replace(resource_version=before.metadata.resource_version)
    return silent == before.status and versionless == before.metadata


def _stored(node: Node) -> float:
    """In whole seconds, as the store keeps it."""
    last = node.status.last_heartbeat
    return 0.0 if last is None else last.timestamp()


def _write(tx: Transaction, beats: tuple[Beat, ...]) -> None:
    for key, uid, heard_at in beats:
        node = tx.get(Node, key)
        if node is not None and node.metadata.uid == uid:
            tx.put(node.replace(status=node.status.replace(last_heartbeat=to_time(heard_at))))
