"""Bootstrap: from an instance that is up to an agent that was started on it."""

from __future__ import annotations

import asyncio
import json

import structlog

from skyward.api import SERVER_NAME, Node, NodeStatus
from skyward.controllers.deps import Deps
from skyward.facts import BootstrapProgress, BootstrapRequest, BootstrapState, Instance

_log = structlog.get_logger()
HOME = ".skyward"
BUSY = (BootstrapState.CONNECTING, BootstrapState.RUNNING)


class BootstrapPhase:
    """Builds each node's request once: with the same request the channel goes on where it was."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._requests: dict[str, BootstrapRequest] = {}

    async def run(self, node: Node, instance: Instance, *, restart: bool, tunnel: bool) -> None:
        """Start or go on; with `restart`, or on another instance, begin anew with a fresh join token. Not to be called while
        the channel is busy: a fresh token would make it begin anew."""
        uid = node.metadata.uid
        request = self._requests.get(uid)
        if request is None or restart or request.provider_id != instance.id:
            request = await self._request(node, instance, tunnel)
            self._requests[uid] = request
        log = _log.bind(node=node.key, instance=instance.id, provider=instance.provider)
        log.info("bootstrapping node", action="restart" if restart else "start")
        self._deps.bootstrapper.start(request)

    async def stop(self, node_uid: str) -> None:
        self._requests.pop(node_uid, None)
        async with asyncio.timeout(self._deps.durations.call_timeout_s):
            await self._deps.bootstrapper.stop(node_uid)

    async def _request(self, node: Node, instance: Instance, tunnel: bool) -> BootstrapRequest:
        durations = self._deps.durations
        script, steps = self._deps.render(node)
        token = await self._deps.credentials.issue_join(node.metadata.uid, 2 * durations.bootstrap_s)
        return BootstrapRequest(
            node_uid=node.metadata.uid,
            node=node.key,
            provider_id=instance.id,
            address=instance.address,
            port=instance.port,
            user=instance.user,
            host_key=instance.host_key,
            script=script,
            steps=steps,
            files=(
                (f"{HOME}/agent.pyz", self._deps.agent_file, 0o644),
                (f"{HOME}/agent.json", self._identity(node, token), 0o600),
            ),
            tunnel=tunnel,
            deadline_s=durations.bootstrap_s,
            pool=f"{node.metadata.namespace}/{node.spec.pool}",
        )

    def _identity(self, node: Node, token: str) -> bytes:
        identity = {
            "node": node.metadata.uid,
            "name": node.metadata.name,
            "endpoint": self._deps.endpoint(),
            "server_name": SERVER_NAME,
            "ca": self._deps.ca_pem,
            "join_token": token,
        }
        return json.dumps(identity, sort_keys=True).encode()


def with_progress(status: NodeStatus, progress: BootstrapProgress) -> NodeStatus:
    """What the channel learnt, kept also when this process forgets the channel."""
    changes: dict[str, object] = {}
    if progress.phases and progress.phases != status.phases:
        changes["phases"] = progress.phases
    if progress.host_key_fingerprint and progress.host_key_fingerprint != status.host_key_fingerprint:
        changes["host_key_fingerprint"] = progress.host_key_fingerprint
    return status.replace(**changes) if changes else status
