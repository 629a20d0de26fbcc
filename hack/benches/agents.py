"""Agents without children, all on one event loop: they join over the real wire, beat, and leave when they are told to."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

from skyward.api import SERVER_NAME
from skyward.facts import BootstrapProgress, BootstrapRequest, BootstrapState
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import (
    AgentHello,
    AgentWelcome,
    Dismiss,
    Heartbeat,
    Lease,
    Leases,
    Ping,
    Pong,
    Refused,
    Report,
    Reports,
    Started,
    Want,
)

BOOTSTRAP_S = 0.5
"""A bootstrap that finds everything there."""
_IDLE = BootstrapProgress()


class QuickBootstrapper:
    """Starts a node's agent after a moment, wherever its instance is."""

    def __init__(self) -> None:
        self._progress: dict[str, BootstrapProgress] = {}
        self._agents: dict[str, asyncio.Task[None]] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._context: ssl.SSLContext | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as self._group:
            ready()
            await asyncio.Event().wait()

    def start(self, request: BootstrapRequest) -> None:
        if request.node_uid in self._agents:
            return
        assert self._group is not None
        self._agents[request.node_uid] = self._group.create_task(self._bootstrap(request))

    def progress(self, node_uid: str) -> BootstrapProgress:
        return self._progress.get(node_uid, _IDLE)

    async def stop(self, node_uid: str) -> None:
        """The channel; the agent goes when the gateway dismisses it, or with its machine."""
        self._progress.pop(node_uid, None)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)

    async def _bootstrap(self, request: BootstrapRequest) -> None:
        identity = next(json.loads(data) for path, data, _ in request.files if path.endswith("agent.json"))
        self._tell(request.node_uid, BootstrapState.RUNNING)
        await asyncio.sleep(BOOTSTRAP_S)
        self._tell(request.node_uid, BootstrapState.DONE)
        await self._serve(identity)

    async def _serve(self, identity: dict[str, Any]) -> None:
        """Be this node's agent."""
        if self._context is None:
            self._context = ssl.create_default_context(cadata=identity["ca"])
        host, _, port = identity["endpoint"].rpartition(":")
        await Agent(identity["node"], identity["join_token"]).run(host, int(port), self._context)

    def _tell(self, node_uid: str, state: BootstrapState) -> None:
        self._progress[node_uid] = BootstrapProgress(state)
        for callback in self._callbacks:
            callback(node_uid)


class Agent:
    """One incarnation. Without an answer to leases it is ready for work that never comes."""

    def __init__(self, node: str, token: str, answer: Callable[[Lease], Report] | None = None) -> None:
        self._answer = answer
        self._node = node
        self._token = token
        self._heartbeat_s = 0.0
        self._received = 0
        self._connection: FrameConnection | None = None
        self._welcomed = asyncio.Event()

    async def run(self, host: str, port: int, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        connection = self._connection = FrameConnection(self._hear)
        await loop.create_connection(lambda: connection, host, port, ssl=context, server_hostname=SERVER_NAME)
        connection.send(
            AgentHello(self._node, self._token, "incarnation-1", "boot", agent_version="bench", python="3.11")
        )
        await self._welcomed.wait()
        while not connection.closed.is_set():
            connection.send(Heartbeat(busy=0, lanes=1, ready=True))
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await connection.closed.wait()
            except TimeoutError:
                continue

    def _hear(self, message: object) -> None:
        assert self._connection is not None
        match message:
            case AgentWelcome():
                self._heartbeat_s = message.heartbeat_s
                self._connection.send(Want(capacity=1))
                self._welcomed.set()
            case Leases(leases) if self._answer is not None:
                reports = tuple(self._answer(lease) for lease in leases)
                self._connection.send(Started(tuple(report.id for report in reports)))
                self._connection.send(Reports(reports))
                self._received += len(leases)
                self._connection.send(Want(capacity=1, received=self._received))
            case Ping():
                self._connection.send(Pong(message.request))
            case Dismiss() | Refused():
                self._welcomed.set()
                self._connection.abort()
