"""What is known of a node's health: its check, the provider's notices, and hosts that brought down what ran on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckState(StrEnum):
    """What the pool's health check says of one node."""

    UNKNOWN = "unknown"
    """It was not heard of: it did not run yet, has not failed often enough to count, or there is none."""
    PASSING = "passing"
    FAILING = "failing"
    """So many failures in a row as the pool tolerates."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What an agent runs to judge its node."""

    command: str
    interval_s: float
    timeout_s: float
    threshold: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A provider said that it will take an instance away."""

    at: float
    """When it takes it, seconds since 1970."""
    message: str = ""
    """In the provider's words."""


@dataclass(frozen=True, slots=True)
class HostFailure:
    """A node that failed, and the host that it ran on."""

    provider: str
    host_id: str
    node_uid: str
    at: float
    message: str = ""
    """Why it failed, first line."""


@dataclass(frozen=True, slots=True)
class ShunnedHost:
    """A host that nothing is launched on for a while."""

    provider: str
    host_id: str
    until: float
    """Seconds since 1970."""
    failures: int
    """Nodes that failed on it and still count."""
    message: str = ""
    """Why the newest of them failed."""
