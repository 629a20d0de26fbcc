"""The standing connection to the gateway: made, kept alive, and made again for as long as the agent lives."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from skyward_agent.link.connection import GatewayConnection, connect, pinned_context
from skyward_agent.link.identity import CredentialFile, IdentityError, gateway_address, load_identity
from skyward_agent.link.outbox import Outbox
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.messages import (
    REFUSED_UNAUTHENTICATED,
    AgentHello,
    AgentWelcome,
    Dismiss,
    Heartbeat,
    NeedFunctions,
    Output,
    Ping,
    Pong,
    Refused,
    Report,
    Returned,
    Started,
    Want,
    Yield,
)

_log = logging.getLogger("skyward_agent.link")
_BACKOFF_FIRST_S = 0.1
_BACKOFF_LAST_S = 5.0
_WELCOME_S = 20.0
_SILENT_BEATS = 5
"""Heartbeats without a word from the gateway after which the connection counts as dead."""


class Listener(Protocol):
    """Whom the link serves. Called on the event loop; must not block."""

    def hello(self, node: str, token: str) -> AgentHello: ...

    def heartbeat(self) -> Heartbeat: ...

    def welcomed(self, welcome: AgentWelcome) -> None: ...

    def heard(self, message: object) -> None:
        """Any message after the welcome, and a Dismiss or Refused in its place."""
        ...

    def disconnected(self) -> None: ...


class GatewayLink:
    """Says what it is given while connected; reports and wants given while not are the listener's to repeat."""

    def __init__(self, home: Path, listener: Listener) -> None:
        self._home = home
        self._listener = listener
        self._credential = CredentialFile(home)
        self._outbox = Outbox()
        self._connection: GatewayConnection | None = None
        self._welcome: asyncio.Future[AgentWelcome] | None = None
        self._flushing = False
        self._backoff_s = _BACKOFF_FIRST_S
        self._distrust_credential = False
        self._refusal = ""
        self._last_problem = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                problem = await self._session()
            except (OSError, IdentityError) as error:
                problem = f"{type(error).__name__}: {error}"
            if problem != self._last_problem:
                _log.warning("gateway not reached problem=%r", problem)
                self._last_problem = problem
            delay = self._backoff_s * (0.5 + int.from_bytes(os.urandom(2)) / 131072)
            self._backoff_s = min(_BACKOFF_LAST_S, self._backoff_s * 1.7)
            await asyncio.sleep(delay)

    # --- saying --------------------------------------------------------------------------------------------------

    @property
    def is_congested(self) -> bool:
        """More output would only wait."""
        return self._welcome is not None or self._connection is None or self._connection.is_congested

    @property
    def connection(self) -> FrameConnection | None:
        """The one that stands, for what is sent beside all that waits here."""
        return self._connection

    def say(self, message: Started | Want | NeedFunctions | Returned) -> None:
        self._outbox.put(message)
        self._flush_soon()

    def report(self, report: Report) -> None:
        self._outbox.put_report(report)
        self._flush_soon()

    def yields(self, made: Yield) -> None:
        self._outbox.put_yield(made)
        self._flush_soon()

    def outputs(self, outputs: Iterable[Output]) -> None:
        self._outbox.put_outputs(outputs)
        self._flush_soon()

    def beat(self) -> None:
        """A heartbeat now, because something changed."""
        if self._connection is not None and self._welcome is None:
            self._outbox.put(self._listener.heartbeat())
            self._flush_soon()

    def _flush_soon(self) -> None:
        """Once per turn of the loop: what is said in one turn travels together."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        connection = self._connection
        if connection is None or self._welcome is not None:
            return
        if connection.is_congested:
            return  # it calls when it takes more
        for message in self._outbox.take():
            connection.send(message)
        if not self._outbox.is_empty:
            self._flush_soon()

    # --- one connection ------------------------------------------------------------------------------------------

    async def _session(self) -> str:
        """One connection from its beginning to its end. Returns why it ended."""
        identity = load_identity(self._home)
        address = gateway_address(self._home, identity)
        context = pinned_context(identity.ca)
        self._refusal = ""
        connection = await connect(address, context, identity.server_name, self._new_connection)
        self._connection = connection
        welcome = self._welcome = asyncio.get_running_loop().create_future()
        try:
            credential = "" if self._distrust_credential else self._credential.read()
            connection.send(self._listener.hello(identity.node, credential or identity.join_token))
            heartbeat_s = await _await_welcome(connection, welcome)
            if heartbeat_s is None:
                return self._refusal or "the gateway did not answer the greeting"
            _log.info("gateway reached address=%s:%d", *address)
            self._last_problem = ""
            self._backoff_s = _BACKOFF_FIRST_S
            silent = await self._keep_alive(connection, heartbeat_s)
            return self._refusal or silent or f"the connection ended: {connection.error or 'closed by the gateway'}"
        finally:
            connection.abort()
            self._connection = None
            self._welcome = None
            self._outbox.forget_connection()
            if welcome.done():
                self._listener.disconnected()

    def _new_connection(self) -> GatewayConnection:
        return GatewayConnection(self._hear, self._flush_soon)

    async def _keep_alive(self, connection: GatewayConnection, heartbeat_s: float) -> str:
        """Until the connection ends. Returns what was wrong when it was ended here."""
        while not connection.is_closed:
            silent_s = connection.silent_s()
            if silent_s > _SILENT_BEATS * heartbeat_s:
                return "the gateway fell silent"
            if silent_s > heartbeat_s:
                self._outbox.put(Ping())
            self.beat()
            try:
                async with asyncio.timeout(heartbeat_s):
                    await connection.closed.wait()
            except TimeoutError:
                pass  # time for the next one
        return ""

    def _hear(self, message: object) -> None:
        connection = self._connection
        if isinstance(message, Ping):
            if connection is not None:
                connection.send(Pong(message.request))
        elif self._welcome is None:
            if not isinstance(message, Pong):
                self._listener.heard(message)
        elif isinstance(message, AgentWelcome):
            self._enter(message)
        elif isinstance(message, Refused):
            if message.error == REFUSED_UNAUTHENTICATED:
                self._distrust_credential = not self._distrust_credential
            self._refuse(f"the gateway refused this agent: {message.error}: {message.message}")
            self._listener.heard(message)
        elif isinstance(message, Dismiss):
            self._refuse(f"the gateway dismissed this node: {message.reason}")
            self._listener.heard(message)

    def _enter(self, welcome: AgentWelcome) -> None:
        """In the same turn as the welcome arrives: what follows it on the connection must find the agent ready."""
        waiting, self._welcome = self._welcome, None
        if welcome.credential:
            try:
                self._credential.write(welcome.credential)
            except OSError as error:  # this incarnation may present its join token again
                _log.error("credential not kept error=%s", error)
        self._distrust_credential = False
        if waiting is not None and not waiting.done():
            waiting.set_result(welcome)
        self._listener.welcomed(welcome)

    def _refuse(self, reason: str) -> None:
        self._refusal = reason
        if self._connection is not None:
            self._connection.abort()


async def _await_welcome(connection: GatewayConnection, welcome: asyncio.Future[AgentWelcome]) -> float | None:
    """The heartbeat's period; None when there was no welcome."""
    closed = asyncio.ensure_future(connection.closed.wait())
    try:
        await asyncio.wait((welcome, closed), timeout=_WELCOME_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        closed.cancel()
    return welcome.result().heartbeat_s if welcome.done() else None
