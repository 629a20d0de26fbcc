"""Termination: release the work, dismiss the agent, close the channel, delete the instance, and repeat the last until the
listing proves it gone. The planner alone decides that it is."""

from __future__ import annotations

import asyncio

import structlog

from skyward.api import Node, NodeStatus, Reason
from skyward.contracts import Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.node.bootstrap import BootstrapPhase
from skyward.controllers.records import same_version, tell_transitions
from skyward.errors import NotYet, ProviderError
from skyward.kit.recorder import record_event
from skyward_agent.wire.messages import NODE_LOST

_log = structlog.get_logger()


class Termination:
    def __init__(self, deps: Deps, bootstrap: BootstrapPhase) -> None:
        self._deps = deps
        self._bootstrap = bootstrap

    async def terminate(self, node: Node, message: str) -> None:
        """Every part is idempotent; a failing provider comes out as its error, after all the others are done."""
        uid = node.metadata.uid
        await self._deps.queue.release(uid, NODE_LOST, f"node {node.metadata.name} was removed: {message}")
        self._deps.link.dismiss(uid, message)
        await self._bootstrap.stop(uid)
        if node.status.provider_id:
            await self._delete(node)

    async def finish(self, node: Node, status: NodeStatus, message: str) -> bool:
        """The instance is proved gone: the node's credentials end, and its record too unless it failed. False when the node
        changed meanwhile."""
        uid = node.metadata.uid
        await self._deps.queue.release(uid, NODE_LOST, f"node {node.metadata.name} is gone")
        self._deps.link.dismiss(uid, message)
        await self._bootstrap.stop(uid)
        await self._deps.credentials.revoke(uid)
        done = await self._deps.store.run(lambda tx: self._finish(tx, node, status, message), power_safe=True)
        if done:
            _log.info("node gone", node=node.key, instance=node.status.provider_id, reason=message)
        return done

    def _finish(self, tx: Transaction, node: Node, status: NodeStatus, message: str) -> bool:
        current = tx.get(Node, node.key)
        if current is None or not same_version(current, node):
            return False
        now = self._deps.clock.now()
        tell_transitions(tx, node, status, now)
        record_event(tx, node, Reason.GONE, message, now=now)
        if node.status.failure:
            tx.put(current.replace(status=status, metadata=current.metadata.replace(finalizers=())))
        else:
            tx.delete(current)
        return True

    async def _delete(self, node: Node) -> None:
        provider = node.status.provider
        driver = self._deps.drivers[provider]
        log = _log.bind(node=node.key, instance=node.status.provider_id, provider=provider)
        log.info("deleting instance", reason=node.status.retire_reason)
        try:
            async with asyncio.timeout(self._deps.durations.call_timeout_s):
                await driver.delete(node.status.provider_id)
        except NotYet as error:
            log.debug("instance cannot be deleted yet", error=str(error))
        except TimeoutError as error:
            raise ProviderError(f"deleting {node.status.provider_id}: no answer in time; it is tried again") from error
        self._deps.listings.poke(provider)
