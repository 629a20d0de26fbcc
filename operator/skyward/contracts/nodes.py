"""Reaching nodes: the SSH channel that makes an instance run the agent, and the link to the agents that registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from skyward.facts import AgentSession, BootstrapProgress, BootstrapRequest, NodeConfig


class Bootstrapper(Protocol):
    """One SSH channel per node. Nothing here waits: `start` begins, `progress` tells, subscribers are woken."""

    def start(self, request: BootstrapRequest) -> None:
        """Begin, or go on where an earlier try or an earlier operator stopped. The same request again is a no-op while it is
        connecting, running, or done with what it holds (a tunnel) still open; otherwise it begins anew."""
        ...

    def progress(self, node_uid: str) -> BootstrapProgress: ...

    async def stop(self, node_uid: str) -> None:
        """Close the node's channel and forget it. Idempotent."""
        ...

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back with a node's uid whenever its progress changed."""
        ...


class AgentLink(Protocol):
    """The agents, as the gateway knows them. Everything is in memory; after a restart sessions come back as agents do."""

    def session(self, node_uid: str) -> AgentSession | None:
        """None when no agent of this node was seen since this operator started."""
        ...

    def sessions(self) -> Mapping[str, AgentSession]: ...

    def configure(self, node_uid: str, config: NodeConfig) -> None:
        """What this node's agent must know; sent when it changed, and to every agent that joins as this node. An agent whose
        node was never configured is not let in."""
        ...

    def dismiss(self, node_uid: str, reason: str) -> None:
        """Tell the agent to stop everything and exit, and let none of this node in again. Idempotent."""
        ...

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back with a node's uid when its session appeared, broke or became ready; not for each heartbeat."""
        ...


class Credentials(Protocol):
    """Tokens are 256 random bits, stored as hashes, compared in constant time."""

    async def issue_join(self, node_uid: str, valid_s: float) -> str:
        """A one-time token with which this node's agent may register. Earlier ones stay valid until one is used."""
        ...

    async def exchange(self, token: str, node_uid: str, incarnation: str) -> str | None:
        """Trade a join token for the node's credential. None when it is unknown, expired, of another node, or used by another
        incarnation; the same incarnation may repeat (its answer was lost)."""
        ...

    async def node_of(self, token: str) -> str | None:
        """The node uid that this node credential belongs to."""
        ...

    async def user_of(self, token: str) -> str | None:
        """The user that this API token belongs to."""
        ...

    async def revoke(self, subject: str) -> None: ...
