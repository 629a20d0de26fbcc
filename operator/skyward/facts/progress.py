"""What is known about a node from its SSH channel and its agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from skyward.api import Phase
from skyward.facts.health import CheckState, HealthCheck, Notice


class BootstrapState(StrEnum):
    IDLE = "idle"
    """Nothing runs for this node in this process."""
    CONNECTING = "connecting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """A step failed or its deadline passed: the same recipe would fail again."""
    HOST_KEY_MISMATCH = "host-key-mismatch"


@dataclass(frozen=True, slots=True)
class BootstrapProgress:
    state: BootstrapState = BootstrapState.IDLE
    step: str = ""
    phases: tuple[Phase, ...] = ()
    message: str = ""
    """What it waits for, or why it failed."""
    tail: str = ""
    """Last lines of a failing step."""
    host_key_fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class BootstrapRequest:
    """All that the channel needs to make one instance run the agent."""

    node_uid: str
    node: str
    """`namespace/name`."""
    provider_id: str
    address: str
    port: int
    user: str
    host_key: str | None
    """Pinned public key; None only where the driver can pin at first contact."""
    script: str
    """The rendered recipe: an idempotent shell script."""
    steps: tuple[str, ...]
    """Ids of its steps, in order."""
    files: tuple[tuple[str, bytes, int], ...]
    """Uploaded first: path relative to the node's home, content, mode."""
    tunnel: bool
    """Hold a reverse forward to the operator's task listener."""
    deadline_s: float
    pool: str = ""
    """Key of its pool: hosts of one that hang hold up no other's."""


@dataclass(frozen=True, slots=True)
class AgentSession:
    """A node's agent as the gateway sees it now."""

    node_uid: str
    incarnation: str
    """Changes with every start of the agent."""
    connected: bool
    since: float
    """When it connected, or when the connection was lost: seconds since 1970."""
    last_heartbeat: float
    version: str = ""
    python: str = ""
    lanes: int = 0
    busy: int = 0
    ready: bool = False
    """Its children are warm and it asks for work."""
    problem: str = ""
    """What the agent says is wrong with its node; empty when nothing is."""
    metrics: dict[str, float] = field(default_factory=dict)
    check: CheckState = CheckState.UNKNOWN
    """What the pool's health check says."""
    check_message: str = ""
    """How it fails, as it was when it began to."""
    notice: Notice | None = None
    """The provider told the node that it will be taken away."""
    limits: str = ""
    """What keeps tasks within their limits there: `cgroup`, or `watch` where only the agent does."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What an agent must know of its pool; sent when it joins and whenever it changes."""

    pool: str
    lanes: int
    """0 means one for each CPU of the node."""
    env: tuple[tuple[str, str], ...]
    memory_bytes: int | None
    orphan_timeout_s: float | None
    schedulable: bool
    rank: int
    """Place among the ready nodes of its pool, by slot."""
    world: tuple[tuple[str, str], ...]
    """(node name, address) of every ready node of its pool, by rank."""
    health_check: HealthCheck | None = None
    executor: str = "process"
    """What runs a lane's tasks: `process` or `thread`."""
