"""A gateway for one agent, in the test's own process: real TLS, real frames, and answers that a test can steer."""

from __future__ import annotations

import asyncio
import pickle
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from skyward_agent.wire import messages as wire
from skyward_agent.wire.frames import decode, encode
from skyward_agent.wire.messages import AttemptId, Configure, Lease, Report
from skyward_agent.wire.stream import FrameSplitter
from tests.agent.payloads import pickled_arguments, pickled_function

SERVER_NAME = "skyward-operator"
CONFIGURE = Configure(
    node="hello-0-abcde",
    pool="default/hello",
    lanes=1,
    env={},
    schedulable=True,
    rank=0,
    world=(wire.Peer("n0", "10.0.0.1"),),
)


class Authority:
    """A throwaway CA with one server certificate."""

    def __init__(self, directory: Path) -> None:
        now = datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throwaway")])
        builder = (
            x509.CertificateBuilder()
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )
        authority = (
            builder.subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = (
            builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)]))
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = authority.public_bytes(serialization.Encoding.PEM).decode()
        chain = directory / "server.pem"
        chain.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + leaf.public_bytes(serialization.Encoding.PEM)
        )
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(chain)


class StubGateway:
    """Lets one node's agent in, gives it leases up to what it wants, keeps what it says."""

    def __init__(self, authority: Authority, configure: Configure = CONFIGURE) -> None:
        self.configure = configure
        self.acknowledge = True
        self.withholds_functions = False
        """Sends leases without their functions, so that the agent must ask."""
        self.refuse: wire.Refused | None = None
        self.abandon_on_welcome: Callable[[wire.AgentHello], tuple[AttemptId, ...]] = lambda hello: ()
        self.hellos: list[wire.AgentHello] = []
        self.heartbeats: list[wire.Heartbeat] = []
        self.started: list[AttemptId] = []
        self.reports: dict[AttemptId, Report] = {}
        self.report_count = 0
        self.outputs: list[wire.Output] = []
        self.story: list[tuple[str, AttemptId | tuple[str, int, int]]] = []
        self.functions: dict[str, bytes] = {}
        self.port = 0
        self._context = authority.context
        self._carried: set[str] = set()
        self._want = 0
        self._waiting: list[Lease] = []
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Condition()
        self._count = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def vanish(self) -> None:
        """Close the listener and the connection, as an operator that dies does."""
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()
        await self.until(lambda: self._writer is None, "the connection to end")

    async def until(self, is_so: Callable[[], Any], what: str, timeout_s: float = 30.0) -> None:
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(is_so)
        except TimeoutError:
            raise AssertionError(f"waited {timeout_s:g} s for {what}") from None

    @property
    def is_connected(self) -> bool:
        return self._writer is not None

    @property
    def is_ready(self) -> bool:
        return bool(self.heartbeats) and self.heartbeats[-1].ready

    # --- work ----------------------------------------------------------------------------------------------------

    def lease(self, function: Callable[..., Any], *args: Any, **fields: Any) -> AttemptId:
        """Queue one attempt of one call; it goes out when the agent wants it."""
        digest, data = pickled_function(function)
        self.functions[digest] = data
        self._count += 1
        attempt = AttemptId(fields.pop("task", "task"), self._count, 1, f"secret-{self._count}")
        self._waiting.append(replace(Lease(attempt, digest, pickled_arguments(*args)), **fields))
        self._hand_out()
        return attempt

    async def report_of(self, attempt: AttemptId, timeout_s: float = 30.0) -> Report:
        await self.until(lambda: attempt in self.reports, f"the report of {attempt}", timeout_s)
        return self.reports[attempt]

    async def value(self, attempt: AttemptId, timeout_s: float = 30.0) -> Any:
        report = await self.report_of(attempt, timeout_s)
        assert report.outcome == wire.SUCCEEDED, report
        return pickle.loads(report.value)

    def text(self, attempt: AttemptId, stream: str = "stdout") -> str:
        key = (attempt.task, attempt.item, attempt.attempt)
        mine = [out for out in self.outputs if (out.task, out.item, out.attempt) == key and out.stream == stream]
        return b"".join(out.data for out in mine).decode(errors="replace")

    def send(self, message: Any) -> None:
        assert self._writer is not None, "no agent is connected"
        self._writer.writelines(encode(message))

    def _hand_out(self) -> None:
        count = min(self._want, len(self._waiting))
        if self._writer is None or count <= 0:
            return
        leases, self._waiting = tuple(self._waiting[:count]), self._waiting[count:]
        self._want -= count
        new = set() if self.withholds_functions else {lease.function for lease in leases} - self._carried
        self._carried |= new
        self.send(wire.Leases(leases, tuple(wire.Function(digest, self.functions[digest]) for digest in sorted(new))))

    # --- the agent's words ---------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splitter = FrameSplitter()
        try:
            while data := await reader.read(262144):
                for frame in splitter.feed(data):
                    self._take(decode(frame), writer)
                async with self._changed:
                    self._changed.notify_all()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()
            if self._writer is writer:
                self._writer, self._want = None, 0
            async with self._changed:
                self._changed.notify_all()

    def _take(self, message: Any, writer: asyncio.StreamWriter) -> None:
        match message:
            case wire.AgentHello():
                self._greet(message, writer)
            case wire.Heartbeat():
                self.heartbeats.append(message)
            case wire.Want(capacity):
                self._want = capacity
                self._hand_out()
            case wire.Started(attempts):
                self.started += attempts
                self.story += [("started", attempt) for attempt in attempts]
            case wire.Outputs(outputs):
                self.outputs += outputs
                self.story += [("output", (out.task, out.item, out.attempt)) for out in outputs]
            case wire.Reports(reports):
                self.report_count += len(reports)
                self.reports.update({report.id: report for report in reports})
                self.story += [("report", report.id) for report in reports]
                if self.acknowledge:
                    self.send(wire.Acknowledged(tuple(report.id for report in reports)))
            case wire.NeedFunctions(digests):
                self.send(wire.Functions(tuple(wire.Function(d, self.functions[d]) for d in digests)))
            case wire.Ping(request):
                self.send(wire.Pong(request))

    def _greet(self, hello: wire.AgentHello, writer: asyncio.StreamWriter) -> None:
        self.hellos.append(hello)
        if self.refuse is not None:
            writer.writelines(encode(self.refuse))
            return
        self._writer = writer
        self._carried = set()
        credential = "credential" if hello.token == "join" else ""
        self.send(wire.AgentWelcome(credential, self.configure, self.abandon_on_welcome(hello), heartbeat_s=1.0))
