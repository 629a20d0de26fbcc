"""A gateway on loopback TLS with agents and clients in the same process."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skyward.api import SERVER_NAME
from skyward.client.config import ClientConfig
from skyward.contracts import Blobs, Clock, TaskQueue
from skyward.facts import HealthCheck, NodeConfig
from skyward.gateway.agents import AgentFile
from skyward.gateway.gateway import Gateway
from skyward.gateway.output import MemoryOutputLog
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import (
    SUCCEEDED,
    AgentHello,
    AgentWelcome,
    AttemptId,
    ClientHello,
    Heartbeat,
    Lease,
    Leases,
    Output,
    Outputs,
    Report,
    Reports,
    Started,
    Want,
)
from tests.gateway.stand_ins import KnownCredentials, MemoryQueue
from tests.gateway.tls import make_tls

POOL = "default/hello"
DEADLINE_S = 20.0


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class World:
    """What outlives a gateway: queue, credentials, node objects. And the gateway that runs now."""

    queue: Any = field(default_factory=MemoryQueue)
    credentials: KnownCredentials = field(default_factory=KnownCredentials)
    nodes: dict[str, str] = field(default_factory=dict)
    """Node names by uid."""
    port: int = 0
    heartbeat_s: float = 5.0
    lost_after_s: float = 30.0
    greeting_s: float = 10.0
    gateway: Gateway | None = None
    output: MemoryOutputLog = field(default_factory=MemoryOutputLog)
    blobs: Blobs | None = None
    clock: Clock = field(default_factory=RealClock)
    agent_file: AgentFile | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def live(self) -> Gateway:
        assert self.gateway is not None
        return self.gateway

    def add_node(self, name: str) -> str:
        uid = f"uid-{name}"
        self.nodes[uid] = name
        if isinstance(self.queue, MemoryQueue):
            self.queue.ready_nodes[uid] = name
        self.configure(uid)
        return uid

    def configure(
        self, uid: str, *, schedulable: bool = True, rank: int = 0, health_check: HealthCheck | None = None
    ) -> None:
        if self.gateway is not None:
            self.gateway.configure(
                uid, NodeConfig(POOL, 1, (("A", "1"),), None, None, schedulable, rank, (), health_check)
            )

    async def start(self) -> None:
        queue: TaskQueue = self.queue
        self.gateway = Gateway(
            queue=queue,
            credentials=self.credentials,
            output=self.output,
            clock=self.clock,
            host="127.0.0.1",
            port=self.port,
            ssl_context=make_tls()[1],
            node_name=lambda uid: (self.nodes[uid], POOL) if uid in self.nodes else None,
            installation="test",
            heartbeat_s=self.heartbeat_s,
            lost_after_s=self.lost_after_s,
            greeting_s=self.greeting_s,
            blobs=self.blobs,
            agent_file=self.agent_file,
        )
        ready = asyncio.Event()
        self._task = asyncio.create_task(self.gateway.run(ready.set))
        await asyncio.wait({self._task, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        self.port = self.gateway.address[1]
        for uid in self.nodes:
            self.configure(uid)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def config(self, token: str = "user-token", port: int | None = None) -> ClientConfig:
        port = self.port if port is None else port
        # Nothing answers at the HTTP address: what needs objects says so.
        return ClientConfig(
            server="https://127.0.0.1:9",
            tasks=f"127.0.0.1:{port}",
            ca_pem=make_tls()[0],
            token=token,
            namespace="default",
            path=Path("test-config"),
        )

    async def dial(self, on_message: Callable[[Any], None]) -> FrameConnection:
        context = ssl.create_default_context(cadata=make_tls()[0])
        connection = FrameConnection(on_message)
        await asyncio.get_running_loop().create_connection(
            lambda: connection, "127.0.0.1", self.port, ssl=context, server_hostname=SERVER_NAME
        )
        return connection


@asynccontextmanager
async def running_world(**options: Any) -> AsyncIterator[World]:
    world = World(**options)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


class RawPeer:
    """Says what it is told and keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.connection: FrameConnection | None = None

    async def connect(self, world: World, *greeting: Any) -> RawPeer:
        self.connection = await world.dial(self.heard.append)
        for message in greeting:
            self.connection.send(message)
        return self

    @property
    def live(self) -> FrameConnection:
        assert self.connection is not None
        return self.connection

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.live.send(message)

    async def hears(self, kind: type, count: int = 1) -> Any:
        """The `count`-th message of that kind."""
        await until(lambda: len(self.all(kind)) >= count, f"{count} {kind.__name__}, got {self.heard}")
        return self.all(kind)[count - 1]

    def all(self, kind: type) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    async def is_cut_off(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.live.closed.wait()


def client_hello(token: str = "user-token", python: str = "3.11") -> ClientHello:
    return ClientHello(token=token, python=python)


def agent_hello(uid: str, incarnation: str = "i1", token: str | None = None, **fields: Any) -> AgentHello:
    return AgentHello(node=uid, token=token or f"node-{uid}", incarnation=incarnation, boot="boot", **fields)


async def until(claim: Callable[[], Any], what: str = "") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not claim():
        assert time.monotonic() < deadline, f"never came true: {what or claim}"
        await asyncio.sleep(0.002)


class FakeAgent:
    """An agent with lanes: runs what it leases by `work`, and comes back by itself with what it has not delivered.

    `work` is given the lease, the function's bytes and a way to write output; it answers with a report.
    """

    def __init__(
        self,
        world: World,
        uid: str,
        work: Callable[[Lease, bytes, Callable[[str, bytes], None]], Awaitable[Report]],
        *,
        lanes: int = 2,
    ) -> None:
        self._world = world
        self._uid = uid
        self._work = work
        self._lanes = lanes
        self._functions: dict[str, bytes] = {}
        self._held: dict[AttemptId, asyncio.Task[None]] = {}
        self._reports: dict[AttemptId, Report] = {}
        self._connection: FrameConnection | None = None
        self._main: asyncio.Task[None] | None = None
        self._welcomed = asyncio.Event()
        self.executed: list[AttemptId] = []

    def start(self) -> FakeAgent:
        self._main = asyncio.create_task(self._run())
        return self

    async def stop(self) -> None:
        for task in (self._main, *self._held.values()):
            if task is not None:
                task.cancel()
        if self._connection is not None:
            await self._connection.hang_up()

    async def _run(self) -> None:
        while True:
            self._welcomed = welcomed = asyncio.Event()
            try:
                connection = await self._world.dial(self._handle)
            except (OSError, ssl.SSLError):
                await asyncio.sleep(0.02)
                continue
            connection.send(agent_hello(self._uid, running=(*self._held, *self._reports)))
            closed = asyncio.create_task(connection.closed.wait())
            await asyncio.wait({closed, asyncio.create_task(welcomed.wait())}, return_when=asyncio.FIRST_COMPLETED)
            if welcomed.is_set():
                self._connection = connection
                connection.send(Heartbeat(busy=0, lanes=self._lanes, ready=True))
                if self._reports:
                    connection.send(Reports(reports=tuple(self._reports.values())))
                self._want()
            await closed
            self._connection = None
            await asyncio.sleep(0.02)

    def _handle(self, message: Any) -> None:
        name = type(message).__name__
        if name == "AgentWelcome":
            assert isinstance(message, AgentWelcome)
            self._drop(message.abandon)
            self._welcomed.set()
        elif isinstance(message, Leases):
            self._functions |= {function.digest: function.data for function in message.functions}
            for lease in message.leases:
                self._held[lease.id] = asyncio.create_task(self._execute(lease))
        elif name == "Abandon":
            self._drop(message.attempts)
            self._want()
        elif name == "Acknowledged":
            for attempt in message.attempts:
                self._reports.pop(attempt, None)

    def _drop(self, attempts: tuple[AttemptId, ...]) -> None:
        for attempt in attempts:
            task = self._held.pop(attempt, None)
            if task is not None:
                task.cancel()
            self._reports.pop(attempt, None)

    async def _execute(self, lease: Lease) -> None:
        self._send(Started(attempts=(lease.id,)))
        sequence = 0

        def write(stream: str, data: bytes) -> None:
            nonlocal sequence
            self._send(
                Outputs(outputs=(Output(lease.id.task, lease.id.item, lease.id.attempt, sequence, stream, data),))
            )
            sequence += 1

        self.executed.append(lease.id)
        report = await self._work(lease, self._functions[lease.function], write)
        self._held.pop(lease.id, None)
        self._reports[lease.id] = report
        self._send(Reports(reports=(report,)))
        self._want()

    def _want(self) -> None:
        self._send(Want(capacity=max(0, self._lanes - len(self._held))))

    def _send(self, message: Any) -> None:
        if self._connection is not None:
            self._connection.send(message)


async def echo(lease: Lease, function: bytes, write: Callable[[str, bytes], None]) -> Report:
    """The result is the arguments."""
    return Report(lease.id, SUCCEEDED, value=lease.arguments)
