"""The door for task traffic: one TLS listener for agents and clients, and what the controllers ask of the agents.

A connection says in its first frame who it is; until that is proved it may send little and wait briefly.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from skyward.contracts import Blobs, Clock, Credentials, OutputLog, TaskQueue
from skyward.facts import AgentSession, NodeConfig
from skyward.gateway.agents import AgentFile, Agents, AgentTimes, NodeName
from skyward.gateway.clients import Clients
from skyward.gateway.functions import FunctionCache
from skyward.gateway.payloads import Payloads
from skyward.gateway.streams import Streams
from skyward_agent.wire.connection import GREETING_LIMIT_BYTES, FrameConnection
from skyward_agent.wire.frames import FrameError
from skyward_agent.wire.messages import AgentHello, AttemptId, ClientHello, Refused, Result
from skyward_agent.wire.read_buffer import begin_with_little

log = structlog.get_logger()

GREETING_S = 10.0
_STRANGERS_AT_ONCE = 1024
"""Connections that have not said who they are; more are turned away."""
_BACKLOG = 1024
_HANG_UP_S = 2.0


class Gateway:
    """Implements `contracts.AgentLink` and listens to the queue. Everything it holds is in memory: after a restart agents
    and clients come back by themselves and say what they have."""

    def __init__(
        self,
        *,
        queue: TaskQueue,
        credentials: Credentials,
        output: OutputLog,
        clock: Clock,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext,
        node_name: NodeName,
        installation: str = "",
        heartbeat_s: float = 5.0,
        lost_after_s: float = 30.0,
        greeting_s: float = GREETING_S,
        blobs: Blobs | None = None,
        agent_file: AgentFile | None = None,
    ) -> None:
        self._output = output
        self._clock = clock
        self._endpoint = (host, port)
        self._ssl_context = ssl_context
        self._heartbeat_s = heartbeat_s
        self._greeting_s = greeting_s
        self._group: asyncio.TaskGroup | None = None
        self._connections: dict[FrameConnection, None] = {}
        self._strangers = 0
        self._address: tuple[str, int] | None = None
        functions = FunctionCache(queue)
        self._payloads = Payloads(blobs, queue, clock, self._spawn)
        times = AgentTimes(heartbeat_s=heartbeat_s, lost_after_s=lost_after_s)
        self._agents = Agents(
            queue, functions, credentials, output, clock, node_name, times, self._spawn, self._payloads, agent_file
        )
        self._clients = Clients(queue, functions, credentials, output, installation, lost_after_s, self._payloads)
        self._streams = Streams(
            queue, self._payloads, clock, self._spawn, self._clients.yields_came, self._clients.is_followed
        )
        self._agents.streams = self._clients.streams = self._streams
        queue.listen(self)

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) that is listened on; once `run` called `ready`."""
        if self._address is None:
            raise RuntimeError("the gateway does not listen yet")
        return self._address

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled."""
        host, port = self._endpoint
        begin_with_little()
        loop = asyncio.get_running_loop()
        stop_output = self._output.subscribe(self._clients.output_came)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                server = await loop.create_server(
                    self._greet,
                    host,
                    port,
                    ssl=self._ssl_context,
                    ssl_handshake_timeout=self._greeting_s,
                    backlog=_BACKLOG,
                )
                self._address = server.sockets[0].getsockname()[:2]
                log.info("task listener ready", address=f"{self._address[0]}:{self._address[1]}")
                group.create_task(self._check())
                ready()
                try:
                    await loop.create_future()
                finally:
                    # From here on nothing new begins: a group that ends takes no more tasks.
                    self._group = None
                    server.close()
        finally:
            stop_output()
            await self._hang_up()

    # --- contracts.AgentLink ---------------------------------------------------------------------------------------------

    def session(self, node_uid: str) -> AgentSession | None:
        return self._agents.session(node_uid)

    def sessions(self) -> Mapping[str, AgentSession]:
        return self._agents.sessions()

    def configure(self, node_uid: str, config: NodeConfig) -> None:
        self._agents.configure(node_uid, config)

    def dismiss(self, node_uid: str, reason: str) -> None:
        self._agents.dismiss(node_uid, reason)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._agents.subscribe(callback)

    # --- contracts.QueueListener -------------------------------------------------------------------------------------------

    def work_available(self, pool: str, node_uid: str | None) -> None:
        self._agents.dispatcher.work_available(pool, node_uid)

    def items_finished(self, results: Sequence[Result]) -> None:
        for result in results:
            self._streams.ended(result.task, result.item)
        self._clients.items_finished(results)

    def abandon(self, node_uid: str, attempts: Sequence[AttemptId], reason: str) -> None:
        self._agents.abandon(node_uid, tuple(attempts), reason)

    def task_closed(self, task: str, items: int) -> None:
        self._clients.grown(task, items, open=False)

    # --- connections ---------------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._group is None:
            work.close()
            return
        self._group.create_task(work)

    def _greet(self) -> FrameConnection:
        """Protocol for one accepted connection. It is served once its TLS handshake is done."""
        first: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_message(message: Any) -> None:
            if first.done():
                raise FrameError("a peer may say nothing more before it is welcomed")
            first.set_result(message)

        connection = FrameConnection(on_message, limit_bytes=GREETING_LIMIT_BYTES)
        connection.on_connected = lambda: self._connected(connection, first)
        return connection

    def _connected(self, connection: FrameConnection, first: asyncio.Future[Any]) -> None:
        if self._group is None:
            connection.abort()
            return
        self._connections[connection] = None
        self._group.create_task(self._serve(connection, first))

    async def _serve(self, connection: FrameConnection, first: asyncio.Future[Any]) -> None:
        try:
            hello = await self._hello(connection, first)
            if isinstance(hello, AgentHello):
                await self._agents.serve(connection, hello)
            elif isinstance(hello, ClientHello):
                await self._clients.serve(connection, hello)
            elif not connection.is_closed:
                connection.abort(FrameError("the first message must be a greeting"))
        except Exception:
            log.exception("connection failed")
            connection.abort()
        finally:
            if connection.is_closed:
                self._connections.pop(connection, None)
            if isinstance(connection.error, FrameError):
                log.warning("connection broke the protocol", error=str(connection.error))

    async def _hello(self, connection: FrameConnection, first: asyncio.Future[Any]) -> Any:
        """The peer's first message; None when it was turned away, said nothing in time, or is gone."""
        if self._strangers >= _STRANGERS_AT_ONCE:
            connection.send(
                Refused(request=0, error="OperatorUnreachable", message="too many new connections: try again")
            )
            connection.close()
            return None
        self._strangers += 1
        try:
            async with asyncio.timeout(self._greeting_s):
                closed = asyncio.ensure_future(connection.closed.wait())
                try:
                    await asyncio.wait({first, closed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    closed.cancel()
        except TimeoutError:
            connection.abort()
        finally:
            self._strangers -= 1
        return first.result() if first.done() else None

    async def _hang_up(self) -> None:
        connections = tuple(self._connections)
        for connection in connections:
            connection.abort()
        try:
            async with asyncio.timeout(_HANG_UP_S):
                for connection in connections:
                    await connection.closed.wait()
        except TimeoutError:
            log.warning("connections did not close in time", connections=len(connections))

    async def _check(self) -> None:
        """Time passing: silent peers are cut off."""
        while True:
            await self._clock.sleep(self._heartbeat_s)
            try:
                self._agents.check()
                self._clients.check()
                self._streams.check()
                await self._payloads.sweep()
            except Exception:
                log.exception("connections not checked")
