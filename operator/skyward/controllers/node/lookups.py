"""Direct questions for one instance by its id, and their newest answers. In memory: a new operator asks again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from skyward.api import Node
from skyward.controllers.deps import Deps
from skyward.errors import InstanceNotFound, ProviderError
from skyward.facts import Instance, LookUp
from skyward.kit.calls import Calls
from skyward.kit.controller import Next

_log = structlog.get_logger()


class LookUps:
    def __init__(self, deps: Deps, calls: Calls) -> None:
        self._deps = deps
        self._calls = calls
        self._answers: dict[str, LookUp] = {}
        """By node uid: a node has one instance in all its life."""

    def answer(self, node_uid: str) -> LookUp | None:
        return self._answers.get(node_uid)

    def ask(self, node: Node, wake: Callable[[float], None]) -> Next:
        """Begin to ask; `wake` is called when the answer is on record, or when there was none, with the time to wait."""
        lane = f"{node.spec.pool_uid} {node.status.provider}"
        return self._calls.begin(_key(node), lane, partial(self._ask, node), wake)

    def forget(self, node: Node) -> None:
        self._answers.pop(node.metadata.uid, None)
        self._calls.forget(_key(node))

    async def _ask(self, node: Node) -> None:
        asked_at = self._deps.clock.now()
        instance = await self._get(node.status.provider, node.status.provider_id)
        self._answers[node.metadata.uid] = LookUp(asked_at, instance)
        _log.info(
            "looked for instance",
            node=node.key,
            instance=node.status.provider_id,
            provider=node.status.provider,
            found=instance.state.value if instance is not None else "",
        )

    async def _get(self, provider: str, instance_id: str) -> Instance | None:
        try:
            async with asyncio.timeout(self._deps.durations.call_timeout_s):
                return await self._deps.drivers[provider].get(instance_id)
        except InstanceNotFound:
            return None
        except TimeoutError as error:
            raise ProviderError(f"asking for {instance_id}: no answer in time; it is asked again") from error


def _key(node: Node) -> str:
    return f"look-up of {node.key}"
