"""The agents of all nodes: who may come in, whose connection counts, and what is known of each.

One place per node. The newest incarnation has it; an older connection is closed, and an incarnation that was replaced
once never comes back, so that two agents of one node (a cloned disk) cannot take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from skyward.contracts import Clock, Credentials, Holder, OutputLog, TaskQueue
from skyward.facts import AgentSession, CheckState, NodeConfig, Notice
from skyward.gateway.dispatch import Dispatcher, Spawn
from skyward.gateway.functions import FunctionCache
from skyward.gateway.payloads import Payloads
from skyward.gateway.peer import AgentPeer, PeerPorts
from skyward.gateway.streams import Streams
from skyward_agent.wire.connection import FrameConnection
from skyward_agent.wire.frames import MAX_FRAME_BYTES
from skyward_agent.wire.messages import (
    CHECK_FAILING,
    CHECK_PASSING,
    REFUSED_DISMISSED,
    REFUSED_SUPERSEDED,
    VERSION,
    AgentHello,
    AgentWelcome,
    AttemptId,
    Configure,
    Dismiss,
    HealthCheck,
    Heartbeat,
    Peer,
    Refused,
    Update,
)

log = structlog.get_logger()

NodeName = Callable[[str], tuple[str, str] | None]
"""From a node's uid to its name and its pool's key; None when there is no such node."""
WORLD_DELAY_S = 0.005
"""How late an agent may learn of the other nodes of its pool, for each of them."""
_INCARNATIONS_REMEMBERED = 16
_DISMISS_GRACE_S = 10.0
_CHECKS = {CHECK_PASSING: CheckState.PASSING, CHECK_FAILING: CheckState.FAILING}


@dataclass(slots=True)
class _Place:
    """What is known of one node's agents."""

    config: NodeConfig | None = None
    session: AgentSession | None = None
    peer: AgentPeer | None = None
    superseded: tuple[str, ...] = ()
    dismissed: str | None = None
    dismissed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentTimes:
    heartbeat_s: float = 5.0
    lost_after_s: float = 30.0
    """An agent that gave no sign of life for this long counts as disconnected."""


@dataclass(frozen=True, slots=True)
class AgentFile:
    digest: str
    data: bytes


@dataclass(slots=True)
class Agents:
    """Everything the gateway knows of agents. Lives on the event loop."""

    queue: TaskQueue
    functions: FunctionCache
    credentials: Credentials
    output: OutputLog
    clock: Clock
    node_name: NodeName
    times: AgentTimes
    spawn: Spawn
    payloads: Payloads
    agent_file: AgentFile | None = None
    """What agents of another build are given instead of theirs."""
    streams: Streams = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    _ports: PeerPorts = field(init=False)
    _places: dict[str, _Place] = field(init=False, default_factory=dict)
    _subscribers: list[Callable[[str], None]] = field(init=False, default_factory=list)
    _untold: set[str] = field(init=False, default_factory=set)
    """Nodes whose agents are about to be told of the pool's other nodes."""

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.queue, self.clock, may_lease=self._may_lease, spawn=self.spawn)
        self._ports = PeerPorts(
            self.queue,
            self.functions,
            self.output,
            self.payloads,
            lambda: self.streams,
            self.clock,
            on_change=self._on_change,
            on_heartbeat=self._on_heartbeat,
        )

    # --- what contracts.AgentLink asks -------------------------------------------------------------------------------

    def session(self, node_uid: str) -> AgentSession | None:
        place = self._places.get(node_uid)
        return place.session if place is not None else None

    def sessions(self) -> Mapping[str, AgentSession]:
        return {uid: place.session for uid, place in self._places.items() if place.session is not None}

    def configure(self, node_uid: str, config: NodeConfig) -> None:
        place = self._places.setdefault(node_uid, _Place())
        if place.config == config:
            return
        before, place.config = place.config, config
        if place.peer is None:
            return
        if before is not None and config == replace(before, rank=config.rank, world=config.world):
            self._tell_world_later(node_uid, config)
            return
        self._send_config(place.peer, config)

    def _tell_world_later(self, node_uid: str, config: NodeConfig) -> None:
        """While a pool grows its world changes with each node, and each of many agents would be told of many others each time."""
        if node_uid not in self._untold:
            self._untold.add(node_uid)
            asyncio.get_running_loop().call_later(len(config.world) * WORLD_DELAY_S, self._tell_world, node_uid)

    def _tell_world(self, node_uid: str) -> None:
        self._untold.discard(node_uid)
        place = self._places.get(node_uid)
        if place is not None and place.peer is not None and place.config is not None:
            self._send_config(place.peer, place.config)

    def _send_config(self, peer: AgentPeer, config: NodeConfig) -> None:
        peer.connection.send(_configure(peer.holder.node, config))
        self.dispatcher.changed(peer)

    def dismiss(self, node_uid: str, reason: str) -> None:
        place = self._places.setdefault(node_uid, _Place())
        if place.dismissed is not None:
            return
        place.dismissed, place.dismissed_at = reason, self.clock.monotonic()
        if place.peer is not None:
            log.info("dismissing agent", node=place.peer.holder.node, reason=reason)
            place.peer.connection.send(Dismiss(reason=reason))

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._subscribers.append(callback)

    def abandon(self, node_uid: str, attempts: tuple[AttemptId, ...], reason: str) -> None:
        """An agent that is away learns it when it comes back, from the queue's `resume`."""
        place = self._places.get(node_uid)
        if place is not None and place.peer is not None:
            place.peer.abandon(attempts, reason)

    # --- one connection -------------------------------------------------------------------------------------------------

    async def serve(self, connection: FrameConnection, hello: AgentHello) -> None:
        """From the greeting to the end of this connection."""
        credential = await self._admit(connection, hello)
        if credential is None:
            return
        peer = await self._install(connection, hello, credential)
        if peer is None:
            return
        try:
            await peer.run()
        finally:
            self._remove(peer)

    async def _admit(self, connection: FrameConnection, hello: AgentHello) -> str | None:
        """The credential to welcome with (empty when it has one already), or None when it was turned away."""
        if hello.version != VERSION:
            _refuse(connection, "Invalid", f"this operator speaks version {VERSION}, the agent {hello.version}")
            return None
        credential: str | None = ""
        if await self.credentials.node_of(hello.token) != hello.node:
            credential = await self.credentials.exchange(hello.token, hello.node, hello.incarnation)
            if credential is None:
                log.warning("agent refused: its token is not valid", node_uid=hello.node, host=hello.host)
                _refuse(connection, "Unauthenticated", "the token is not valid for this node")
                return None
        place = self._places.get(hello.node)
        if place is not None and place.dismissed is not None:
            _refuse(connection, REFUSED_DISMISSED, place.dismissed)
            return None
        if place is None or place.config is None or self.node_name(hello.node) is None:
            _refuse(connection, "NotFound", "this node is not known yet: try again")
            return None
        if hello.incarnation in place.superseded:
            _refuse(connection, REFUSED_SUPERSEDED, "a newer agent of this node has its place")
            return None
        return credential

    async def _install(self, connection: FrameConnection, hello: AgentHello, credential: str) -> AgentPeer | None:
        """Give the connection the node's place, and sort out with the queue what this agent still holds."""
        place = self._places[hello.node]
        self._supersede(place, hello.incarnation)
        async with self.dispatcher.lock(hello.node):
            named = self.node_name(hello.node)
            config = place.config
            if named is None or config is None or hello.incarnation in place.superseded or connection.is_closed:
                connection.close()
                return None
            node, pool = named
            holder = Holder(node_uid=hello.node, node=node, pool=pool, incarnation=hello.incarnation)
            abandon = await self.queue.resume(holder, hello.running)
            lost = set(abandon)
            peer = AgentPeer(connection, holder, [held for held in hello.running if held not in lost], self._ports)
            if place.peer is not None:  # the same incarnation, twice at once: the later connection counts
                place.peer.connection.abort()
            place.peer = peer
            connection.limit_bytes = MAX_FRAME_BYTES
            connection.on_message = peer.handle
            connection.send(
                AgentWelcome(
                    credential=credential,
                    configure=_configure(node, place.config or config),
                    abandon=tuple(abandon),
                    heartbeat_s=self.times.heartbeat_s,
                    shared=self.payloads.shared[0],
                    proof=self.payloads.shared[1],
                )
            )
        self.dispatcher.join(peer)
        self._joined(place, hello, peer)
        self._update(peer, hello)
        return peer

    def _update(self, peer: AgentPeer, hello: AgentHello) -> None:
        """An agent that knows which build it is gets this operator's; it restarts with it when it has a moment."""
        ours = self.agent_file
        if ours is not None and hello.digest not in ("", ours.digest):
            log.info("updating agent", node=peer.holder.node, version=hello.agent_version, digest=ours.digest)
            peer.connection.send(Update(ours.digest, ours.data))

    def _supersede(self, place: _Place, incarnation: str) -> None:
        if place.session is not None and place.session.incarnation != incarnation:
            place.superseded = (*place.superseded, place.session.incarnation)[-_INCARNATIONS_REMEMBERED:]
        if place.peer is not None:
            place.peer.connection.abort()

    def _joined(self, place: _Place, hello: AgentHello, peer: AgentPeer) -> None:
        now = self.clock.now()
        place.session = AgentSession(
            node_uid=hello.node,
            incarnation=hello.incarnation,
            connected=True,
            since=now,
            last_heartbeat=now,
            version=hello.agent_version,
            python=hello.python,
            limits=hello.limits,
        )
        log.info("agent connected", node=peer.holder.node, pool=peer.holder.pool, incarnation=hello.incarnation)
        self._notify(hello.node)

    def _remove(self, peer: AgentPeer) -> None:
        self.dispatcher.leave(peer)
        place = self._places.get(peer.holder.node_uid)
        if place is None or place.peer is not peer:
            return
        place.peer = None
        if place.session is not None:
            place.session = replace(place.session, connected=False, ready=False, since=self.clock.now())
        error = peer.connection.error
        log.info("agent disconnected", node=peer.holder.node, pool=peer.holder.pool, error=str(error) if error else "")
        self._notify(peer.holder.node_uid)

    # --- what peers and time bring -----------------------------------------------------------------------------------------

    def _on_change(self, peer: AgentPeer) -> None:
        self.dispatcher.changed(peer)

    def _on_heartbeat(self, peer: AgentPeer, heartbeat: Heartbeat) -> None:
        place = self._places[peer.holder.node_uid]
        old = place.session
        if place.peer is not peer or old is None:
            return
        place.session = replace(
            old,
            last_heartbeat=self.clock.now(),
            lanes=heartbeat.lanes,
            busy=heartbeat.busy,
            ready=heartbeat.ready,
            problem=heartbeat.problem,
            metrics=heartbeat.metrics,
            check=_CHECKS.get(heartbeat.check, CheckState.UNKNOWN),
            check_message=heartbeat.check_message,
            notice=Notice(heartbeat.notice_at, heartbeat.notice) if heartbeat.notice_at > 0 else None,
        )
        if _judgement(old) != _judgement(place.session):
            self._notify(peer.holder.node_uid)

    def _may_lease(self, peer: AgentPeer) -> bool:
        place = self._places.get(peer.holder.node_uid)
        if place is None or place.peer is not peer or place.config is None:
            return False
        return place.config.schedulable and place.dismissed is None

    def check(self) -> None:
        """Cut off who is silent or was dismissed, and forget nodes that are gone. Called every heartbeat interval."""
        now = self.clock.monotonic()
        for uid, place in tuple(self._places.items()):
            peer = place.peer
            if peer is None:
                if self.node_name(uid) is None:
                    del self._places[uid]
                    self.dispatcher.forget(uid)
                continue
            silent_s = peer.connection.silent_s()
            if silent_s > self.times.lost_after_s:
                log.warning("agent is silent", node=peer.holder.node, pool=peer.holder.pool, silent_s=round(silent_s))
                peer.connection.abort()
            elif place.dismissed is not None and now - place.dismissed_at > _DISMISS_GRACE_S:
                peer.connection.close()

    def _notify(self, node_uid: str) -> None:
        for callback in tuple(self._subscribers):
            callback(node_uid)


def _refuse(connection: FrameConnection, error: str, message: str) -> None:
    connection.send(Refused(request=0, error=error, message=message))
    connection.close()


def _configure(node: str, config: NodeConfig) -> Configure:
    return Configure(
        node=node,
        pool=config.pool,
        lanes=config.lanes,
        env=dict(config.env),
        schedulable=config.schedulable,
        rank=config.rank,
        world=tuple(Peer(name=name, address=address) for name, address in config.world),
        memory_bytes=config.memory_bytes,
        orphan_timeout_s=config.orphan_timeout_s,
        health_check=_health_check(config),
        executor=config.executor,
    )


def _health_check(config: NodeConfig) -> HealthCheck | None:
    check = config.health_check
    if check is None:
        return None
    return HealthCheck(check.command, check.interval_s, check.timeout_s, check.threshold)


def _judgement(session: AgentSession) -> tuple[object, ...]:
    """What somebody decides from, of all that a heartbeat brings."""
    return (session.ready, session.problem, session.check, session.check_message, session.notice)
