"""Termination: release the work, dismiss the agent, close the channel, delete the instance, and repeat all of it until the
listing proves the instance gone. The planner alone decides that it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from skyward.api import Node, NodeStatus, Reason
from skyward.contracts import Transaction
from skyward.controllers.deps import Deps
from skyward.controllers.node.bootstrap import BootstrapPhase
from skyward.controllers.records import same_version, tell_transitions
from skyward.errors import NotYet, ProviderError
from skyward.kit.calls import Calls
from skyward.kit.controller import Next
from skyward.kit.decisions import Entry
from skyward.kit.recorder import record_event
from skyward.planner import epitaph
from skyward_agent.wire.messages import NODE_LOST

_log = structlog.get_logger()


class Termination:
    def __init__(self, deps: Deps, bootstrap: BootstrapPhase, calls: Calls, wake: Callable[[str, float], None]) -> None:
        self._deps = deps
        self._bootstrap = bootstrap
        self._calls = calls
        self._wake = wake

    def hindrance(self, node: Node) -> Next | None:
        """Why deletion cannot be asked for now; None when it can."""
        return self._calls.hindrance(node.key)

    async def terminate(self, node: Node, message: str) -> Next:
        """Take its work and its agent away, and begin the rest. Every part is idempotent."""
        uid = node.metadata.uid
        await self._deps.queue.release(uid, NODE_LOST, f"node {node.metadata.name} was removed: {message}")
        self._deps.link.dismiss(uid, message)
        lane = f"{node.spec.pool_uid} {node.status.provider}"
        return self._calls.begin(node.key, lane, partial(self._remove, node), partial(self._wake, node.key))

    async def finish(self, node: Node, status: NodeStatus, message: str, entry: Entry) -> bool:
        """The instance is proved gone: the node's credentials end, and its record too unless it failed. False when the node
        changed meanwhile."""
        uid = node.metadata.uid
        await self._deps.queue.release(uid, NODE_LOST, f"node {node.metadata.name} is gone")
        self._deps.link.dismiss(uid, message)
        await self._bootstrap.stop(uid)
        await self._deps.credentials.revoke(uid)
        self._calls.forget(node.key)
        done = await self._deps.store.run(lambda tx: self._finish(tx, node, status, message, entry), power_safe=True)
        if done:
            _log.info("node gone", node=node.key, instance=node.status.provider_id, reason=message)
        return done

    def _finish(self, tx: Transaction, node: Node, status: NodeStatus, message: str, entry: Entry) -> bool:
        current = tx.get(Node, node.key)
        if current is None or not same_version(current, node):
            return False
        now = self._deps.clock.now()
        tell_transitions(tx, node, status, now)
        record_event(tx, node, Reason.GONE, message, now=now)
        entry.write(tx)
        failure = epitaph(node)
        if failure:
            record = status.replace(failure=failure)
            tx.put(current.replace(status=record, metadata=current.metadata.replace(finalizers=())))
        else:
            tx.delete(current)
        return True

    async def _remove(self, node: Node) -> None:
        """The host may hang as well as its provider."""
        await self._bootstrap.stop(node.metadata.uid)
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
