"""What `plan_node` must know of a provider and of our patience, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeRules:
    """The declared facts of the node's driver, when this operator began, and how long each phase may take."""

    started_at: float
    """When this operator began: what it has not seen since then it must first look for. Seconds since 1970."""
    has_token: bool
    """A replay of the identical create call answers with the same instances."""
    visibility_s: float
    """Longest time a created instance may be missing from a listing."""
    absence_s: float
    """How long an identity must stay unseen before it is proved absent."""
    same_host: bool
    """Nodes reach the operator over loopback: `connection: auto` means direct."""

    create_call_s: float = 120.0
    """A call that was sent by this process and has not answered is in flight at most this long."""
    launch_deadline_s: float = 300.0
    """From the create call to an instance that is up."""
    bootstrap_deadline_s: float = 1800.0
    registration_deadline_s: float = 120.0
    """From the agent's start to its first call home, and from its restart to its return."""
    initialization_deadline_s: float = 600.0
    """From registration, or from the last time the agent was ready, to an agent that asks for work."""
    agent_grace_s: float = 10.0
    """A broken connection shorter than this is not worth a restart of the agent."""
    max_restarts: int = 3
    well_s: float = 3600.0
    """An agent that kept running for so long after a restart is well again: earlier restarts no longer count."""
    lease_s: float = 30.0
    """How long after an operator restart a node that was ready may take to come back."""
