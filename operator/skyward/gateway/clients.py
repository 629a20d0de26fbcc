"""The clients: their requests become queue calls, many at once, and what they follow is pushed as it happens.

A client that reads slowly never makes memory grow: results wait in the queue and are paged to it when it has caught up,
output beyond a bound is dropped and the gap is said. A client that goes away cancels nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from skyward.contracts import Credentials, OutputLog, TaskQueue
from skyward.gateway.follower import ClientPeer
from skyward.gateway.functions import FunctionCache
from skyward.gateway.payloads import Payloads
from skyward.gateway.streams import Streams
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.frames import MAX_FRAME_BYTES
from skyward_agent.wire.messages import VERSION, ClientHello, ClientWelcome, Output, Refused, Result, Yield

log = structlog.get_logger()

_ENDED_REMEMBERED = 10_000


@dataclass(slots=True)
class Clients:
    """Every connected client, and who follows which task. Lives on the event loop."""

    queue: TaskQueue
    functions: FunctionCache
    credentials: Credentials
    output: OutputLog
    installation: str
    lost_after_s: float
    payloads: Payloads
    streams: Streams = field(init=False)
    _peers: set[ClientPeer] = field(init=False, default_factory=set)
    _followers: dict[str, list[ClientPeer]] = field(init=False, default_factory=dict)
    _ended_unseen: OrderedDict[str, None] = field(init=False, default_factory=OrderedDict)
    """Tasks with results that came while nobody followed them."""

    async def serve(self, connection: FrameConnection, hello: ClientHello) -> None:
        """From the greeting to the end of this connection."""
        user = await self.credentials.user_of(hello.token)
        if user is None:
            log.warning("client refused: its token is not valid")
            _refuse(
                connection, "Unauthenticated", "the operator does not accept this token: read its configuration again"
            )
            return
        if hello.version != VERSION:
            _refuse(
                connection, "Invalid", f"this operator speaks version {VERSION} of the wire, the client {hello.version}"
            )
            return
        peer = ClientPeer(connection, user, hello.python, self)
        connection.limit_bytes = MAX_FRAME_BYTES
        connection.on_message = peer.handle
        connection.send(ClientWelcome(self.installation, VERSION, *self.payloads.shared))
        self._peers.add(peer)
        log.debug("client connected", user=user, python=hello.python)
        try:
            await peer.run()
        finally:
            self._peers.discard(peer)
            for task in peer.followed():
                self.unfollow(task, peer)
            log.debug("client disconnected", user=user)

    def follow(self, task: str, peer: ClientPeer) -> bool:
        """From now on this peer sees the task's results. True when some may have come before anyone followed it."""
        peers = self._followers.setdefault(task, [])
        if peer not in peers:
            peers.append(peer)
        return self._ended_unseen.pop(task, False) is None

    def unfollow(self, task: str, peer: ClientPeer) -> None:
        peers = self._followers.get(task, [])
        if peer in peers:
            peers.remove(peer)
        if not peers:
            self._followers.pop(task, None)

    def grown(self, task: str, items: int, *, open: bool, by: ClientPeer | None = None) -> None:
        """Tell those that follow it, but for who did it: they would wait for ever for what never comes, or not for what does."""
        for peer in tuple(self._followers.get(task, ())):
            if peer is not by:
                peer.grown(task, items, open=open)

    def items_finished(self, results: Sequence[Result]) -> None:
        by_task: dict[str, list[Result]] = {}
        for result in results:
            by_task.setdefault(result.task, []).append(result)
        for task, ended in by_task.items():
            peers = self._followers.get(task)
            if peers is None:
                self._remember(task)
                continue
            for peer in tuple(peers):
                peer.results_came(task, ended)

    def output_came(self, outputs: Sequence[Output]) -> None:
        for peer in tuple({peer for output in outputs for peer in self._followers.get(output.task, ())}):
            peer.output_came(outputs)

    def yields_came(self, yields: Sequence[Yield]) -> None:
        for made in yields:
            for peer in tuple(self._followers.get(made.task, ())):
                peer.yielded(made)

    def is_followed(self, task: str) -> bool:
        return task in self._followers

    def check(self) -> None:
        """Cut off clients that gave no sign of life. Called every heartbeat interval."""
        for peer in tuple(self._peers):
            if peer.connection.silent_s() > self.lost_after_s:
                log.info("client is silent", user=peer.user)
                peer.connection.abort()

    def _remember(self, task: str) -> None:
        self._ended_unseen[task] = None
        if len(self._ended_unseen) > _ENDED_REMEMBERED:
            self._ended_unseen.popitem(last=False)


def _refuse(connection: FrameConnection, error: str, message: str) -> None:
    connection.send(Refused(request=0, error=error, message=message))
    connection.close()
