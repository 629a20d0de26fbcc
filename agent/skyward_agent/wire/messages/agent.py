"""What an agent and the gateway say to each other."""

from __future__ import annotations

from dataclasses import field

from skyward_agent.wire.frames import message
from skyward_agent.wire.messages.attempts import AttemptId, Failure
from skyward_agent.wire.messages.both import VERSION, Peer
from skyward_agent.wire.records import record

PROCESS = "process"
THREAD = "thread"


@message
@record(frozen=True, slots=True)
class AgentHello:
    """First words of an agent: with its one-time join token, or with the node credential it was given for it."""

    node: str
    """The node's uid."""
    token: str
    incarnation: str
    """Fresh with every start of the agent process."""
    boot: str
    """The host's boot id."""
    version: int = VERSION
    agent_version: str = ""
    python: str = ""
    """Minor version, like 3.11."""
    host: str = ""
    pid: int = 0
    cpus: int = 1
    running: tuple[AttemptId, ...] = ()
    """Attempts this incarnation still holds: running, or finished and not yet acknowledged."""
    digest: str = ""
    """Of the agent file that this agent was started from; empty when it does not know."""
    limits: str = ""
    """What keeps tasks within their limits here: `cgroup`, or `watch` where only the agent does."""


@message
@record(frozen=True, slots=True)
class AgentWelcome:
    credential: str
    """Node credential to use from now on; empty when the hello already carried one."""
    configure: Configure
    abandon: tuple[AttemptId, ...] = ()
    """Attempts of the hello that are no longer this agent's: kill them, drop their results."""
    heartbeat_s: float = 5.0
    version: int = VERSION
    shared: str = ""
    """The directory through which files are handed over, for an agent that finds it to be the operator's own."""
    proof: str = ""
    """What its file `proof` then holds."""


@message
@record(frozen=True, slots=True)
class Configure:
    """What the agent must know of its pool. Sent on joining and whenever it changes; takes effect at once."""

    node: str
    pool: str
    lanes: int
    """0 means one for each CPU."""
    env: dict[str, str]
    schedulable: bool
    rank: int
    world: tuple[Peer, ...]
    memory_bytes: int | None = None
    orphan_timeout_s: float | None = None
    health_check: HealthCheck | None = None
    executor: str = PROCESS
    """What runs a lane's tasks: `process`, or `thread` for threads of one process."""


@record(frozen=True, slots=True)
class HealthCheck:
    """A command that tells whether the node is well; the agent runs it again and again, and so judges its node."""

    command: str
    interval_s: float
    """From the end of one run to the beginning of the next."""
    timeout_s: float
    threshold: int
    """So many failures in a row count."""


CHECK_PASSING = "passing"
CHECK_FAILING = "failing"


@message
@record(frozen=True, slots=True)
class Heartbeat:
    busy: int
    lanes: int
    ready: bool
    """Its children are warm and it may take work."""
    metrics: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    check: str = ""
    """Of the health check: `passing`, `failing`, or empty while it is not known."""
    check_message: str = ""
    """How it fails, as it was when it began to."""
    notice_at: float = 0.0
    """When the provider told the node that it takes it away, seconds since 1970; 0 when it told nothing."""
    notice: str = ""
    """In the provider's words."""


@message
@record(frozen=True, slots=True)
class Want:
    """The agent can hold this many more attempts. Replaces what it said before; 0 stops deliveries."""

    capacity: int
    received: int = -1
    """Leases that this connection has brought it so far: those still under way count against the capacity. -1: not said."""


@record(frozen=True, slots=True)
class Lease:
    """The right, and all that is needed, to run one attempt."""

    id: AttemptId
    function: str
    """Digest (sha256, hex) of the function's bytes."""
    arguments: bytes
    timeout_s: float | None = None
    env: dict[str, str] = field(default_factory=dict)
    rank: int = -1
    """In a broadcast: this item's frozen rank; -1 otherwise."""
    world: tuple[Peer, ...] = ()
    """In a broadcast: the frozen ranks; empty otherwise."""
    stream: bool = True
    """Somebody may read its output."""
    alone: bool = False
    """Its start must be known before it begins: nothing is put behind or before it in one process."""


@message
@record(frozen=True, slots=True)
class Leases:
    leases: tuple[Lease, ...]
    functions: tuple[Function, ...] = ()
    """Bytes of functions that this connection has not carried yet."""


@message
@record(frozen=True, slots=True)
class Function:
    digest: str
    data: bytes


@message
@record(frozen=True, slots=True)
class NeedFunctions:
    """The agent holds leases of functions it does not have (it restarted); answered by `Functions`."""

    digests: tuple[str, ...]


@message
@record(frozen=True, slots=True)
class Functions:
    functions: tuple[Function, ...]


@message
@record(frozen=True, slots=True)
class Started:
    """These attempts are in the hands of the processes that run user code: they have begun, or may at any moment."""

    attempts: tuple[AttemptId, ...]


@record(frozen=True, slots=True)
class Report:
    """How one attempt ended. Kept in the agent's spool until acknowledged."""

    id: AttemptId
    outcome: str
    value: bytes = b""
    failure: Failure | None = None
    seconds: float = 0.0


@message
@record(frozen=True, slots=True)
class Reports:
    reports: tuple[Report, ...]


@message
@record(frozen=True, slots=True)
class Acknowledged:
    """These reports are durable, or were refused as superseded: forget them."""

    attempts: tuple[AttemptId, ...]


@message
@record(frozen=True, slots=True)
class Abandon:
    """Stop these attempts: kill their process trees. Each is answered by a report with outcome Cancelled."""

    attempts: tuple[AttemptId, ...]
    reason: str = ""


@message
@record(frozen=True, slots=True)
class Recall:
    """Another agent idles: give back those of these attempts that have not begun. Answered by one Returned."""

    attempts: tuple[AttemptId, ...]


@message
@record(frozen=True, slots=True)
class Returned:
    """These attempts never began here and never will: no report of them follows. Also said unasked, by an agent that may take
    no work or leaves."""

    attempts: tuple[AttemptId, ...]


@message
@record(frozen=True, slots=True)
class Update:
    """This operator ships another agent file: put it in place, and start it once what runs has ended."""

    digest: str
    """First sixteen hex digits of its sha256."""
    data: bytes


@message
@record(frozen=True, slots=True)
class Dismiss:
    """The node leaves: stop everything and exit, never to come back."""

    reason: str
