"""What agents, clients and the gateway say to each other. Version 1.

Both sides open with one greeting (`AgentHello` or `ClientHello`) and are answered by one `AgentWelcome`,
`ClientWelcome` or `Refused`. After that either side may send at any time; nothing is polled.

Payloads (`function`, `arguments`, `value`, `error`) are pickles made and read by user processes only; the gateway,
the queue and the agent's parent process never look into them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward_agent.wire.frames import message

VERSION = 1


# --- outcomes of attempts (API: an attempt's `outcome`) ----------------------------------------------------------

SUCCEEDED = "Succeeded"
FAILED = "Failed"
CANCELLED = "Cancelled"
TIMED_OUT = "TimedOut"
NODE_LOST = "NodeLost"
CHILD_DIED = "ChildDied"
OUT_OF_MEMORY = "OutOfMemory"
NOT_UNPICKLABLE = "NotUnpicklable"
"""The node could not load the function or its arguments (a module is missing there)."""
RESULT_NOT_PICKLABLE = "ResultNotPicklable"
DEAD_LETTER = "DeadLetter"

OUTCOMES = (
    SUCCEEDED,
    FAILED,
    CANCELLED,
    TIMED_OUT,
    NODE_LOST,
    CHILD_DIED,
    OUT_OF_MEMORY,
    NOT_UNPICKLABLE,
    RESULT_NOT_PICKLABLE,
    DEAD_LETTER,
)

INFRASTRUCTURE = (NODE_LOST, CHILD_DIED, OUT_OF_MEMORY)
"""Outcomes that may be tried again while the task's `max_attempts` lasts; all others are final."""


# --- why an agent is refused (`Refused.error` with request 0); anything else is tried again with backoff ------------

REFUSED_DISMISSED = "Dismissed"
"""The node has left: the agent stops for good."""
REFUSED_SUPERSEDED = "Superseded"
"""A newer incarnation of this node's agent holds its place: this one exits."""
REFUSED_UNAUTHENTICATED = "Unauthenticated"
"""The token is not valid for this node: the agent tries the other one that it has."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not succeed, readable without unpickling anything."""

    type: str
    """Qualified name of the exception's class, or the outcome's name when there was no exception."""
    message: str
    traceback: str = ""
    """The remote traceback's text."""
    exception: bytes = b""
    """The pickled exception; empty when it could not be pickled."""
    evidence: dict[str, str] = field(default_factory=dict)
    """Signal, exit code, last output, memory: what an infrastructure outcome leaves behind."""


@dataclass(frozen=True, slots=True)
class AttemptId:
    """Names one try of one work item. The number fences (older ones are refused), the secret authenticates."""

    task: str
    item: int
    attempt: int
    secret: str


# --- agent and gateway -------------------------------------------------------------------------------------------


@message
@dataclass(frozen=True, slots=True)
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


@message
@dataclass(frozen=True, slots=True)
class AgentWelcome:
    credential: str
    """Node credential to use from now on; empty when the hello already carried one."""
    configure: Configure
    abandon: tuple[AttemptId, ...] = ()
    """Attempts of the hello that are no longer this agent's: kill them, drop their results."""
    heartbeat_s: float = 5.0
    version: int = VERSION


@message
@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    address: str


@message
@dataclass(frozen=True, slots=True)
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
@dataclass(frozen=True, slots=True)
class Want:
    """The agent can hold this many more attempts. Replaces what it said before; 0 stops deliveries."""

    capacity: int
    received: int = -1
    """Leases that this connection has brought it so far: those still under way count against the capacity. -1: not said."""


@dataclass(frozen=True, slots=True)
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
@dataclass(frozen=True, slots=True)
class Leases:
    leases: tuple[Lease, ...]
    functions: tuple[Function, ...] = ()
    """Bytes of functions that this connection has not carried yet."""


@message
@dataclass(frozen=True, slots=True)
class Function:
    digest: str
    data: bytes


@message
@dataclass(frozen=True, slots=True)
class NeedFunctions:
    """The agent holds leases of functions it does not have (it restarted); answered by `Functions`."""

    digests: tuple[str, ...]


@message
@dataclass(frozen=True, slots=True)
class Functions:
    functions: tuple[Function, ...]


@message
@dataclass(frozen=True, slots=True)
class Started:
    """These attempts are in the hands of the processes that run user code: they have begun, or may at any moment."""

    attempts: tuple[AttemptId, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """How one attempt ended. Kept in the agent's spool until acknowledged."""

    id: AttemptId
    outcome: str
    value: bytes = b""
    failure: Failure | None = None
    seconds: float = 0.0


@message
@dataclass(frozen=True, slots=True)
class Reports:
    reports: tuple[Report, ...]


@message
@dataclass(frozen=True, slots=True)
class Acknowledged:
    """These reports are durable, or were refused as superseded: forget them."""

    attempts: tuple[AttemptId, ...]


@message
@dataclass(frozen=True, slots=True)
class Abandon:
    """Stop these attempts: kill their process trees. Each is answered by a report with outcome Cancelled."""

    attempts: tuple[AttemptId, ...]
    reason: str = ""


@message
@dataclass(frozen=True, slots=True)
class Recall:
    """Another agent idles: give back those of these attempts that have not begun. Answered by one Returned."""

    attempts: tuple[AttemptId, ...]


@message
@dataclass(frozen=True, slots=True)
class Returned:
    """These attempts never began here and never will: no report of them follows. Also said unasked, by an agent that may take
    no work or leaves."""

    attempts: tuple[AttemptId, ...]


@message
@dataclass(frozen=True, slots=True)
class Dismiss:
    """The node leaves: stop everything and exit, never to come back."""

    reason: str


# --- output, both ways ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what user code wrote. Numbered per attempt from 0; a gap means that some was dropped."""

    task: str
    item: int
    attempt: int
    sequence: int
    stream: str
    """`stdout` or `stderr`."""
    data: bytes
    node: str = ""
    """Node name; filled in by the gateway."""


@message
@dataclass(frozen=True, slots=True)
class Outputs:
    outputs: tuple[Output, ...]


# --- client and gateway ------------------------------------------------------------------------------------------


@message
@dataclass(frozen=True, slots=True)
class ClientHello:
    token: str
    python: str
    version: int = VERSION
    client_version: str = ""


@message
@dataclass(frozen=True, slots=True)
class ClientWelcome:
    installation: str
    version: int = VERSION


@message
@dataclass(frozen=True, slots=True)
class Refused:
    """The request (or, with request 0, the connection) is refused. `error` names a class of `skyward.errors`."""

    request: int
    error: str
    message: str


@message
@dataclass(frozen=True, slots=True)
class PutFunction:
    """Makes a function known. Sent before the first Submit that names it on a connection; not answered."""

    digest: str
    data: bytes


@message
@dataclass(frozen=True, slots=True)
class Submit:
    """Make a task. Idempotent by `key`: the same key answers with the same task."""

    request: int
    """Number of the connection's choice; the answer carries it."""
    key: str
    namespace: str
    pool: str
    mode: str
    """`run`, `map` or `broadcast`."""
    function: str
    name: str
    items: tuple[bytes, ...]
    """Pickled `(args, kwargs)` of each item: one for run and broadcast, the first ones for map."""
    open: bool = False
    """More items follow by `Extend` (map only)."""
    max_attempts: int = 3
    timeout_s: float | None = None
    priority: int = 0
    env: dict[str, str] = field(default_factory=dict)
    stream: bool = True
    """Send the task's output to this connection."""


@message
@dataclass(frozen=True, slots=True)
class Submitted:
    """The task is durable."""

    request: int
    task: str
    """Its uid."""
    name: str
    items: int
    """Items it has now; in a broadcast, its ranks."""


@message
@dataclass(frozen=True, slots=True)
class Extend:
    """More items of an open map. Idempotent by `start`; answered by Extended once durable."""

    request: int
    task: str
    start: int
    """Index of the first of these items."""
    items: tuple[bytes, ...]
    last: bool


@message
@dataclass(frozen=True, slots=True)
class Extended:
    request: int
    items: int
    """Items the task has now."""


@message
@dataclass(frozen=True, slots=True)
class Attach:
    """Follow a task again, from another connection: results of these items (all when empty) come as they are or get ready."""

    request: int
    task: str
    have: tuple[int, ...] = ()
    """Items whose results the client already has."""
    stream: bool = True


@message
@dataclass(frozen=True, slots=True)
class Attached:
    request: int
    task: str
    items: int
    open: bool


@message
@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel a whole task; items that ended keep their outcome. Answered by Cancelled once durable."""

    request: int
    task: str


@message
@dataclass(frozen=True, slots=True)
class Cancelled:
    request: int
    task: str


@dataclass(frozen=True, slots=True)
class Result:
    """The terminal outcome of one item; sent once per connection that follows the task."""

    task: str
    item: int
    outcome: str
    attempt: int
    node: str
    """Node name; empty when it never ran."""
    value: bytes = b""
    failure: Failure | None = None


@message
@dataclass(frozen=True, slots=True)
class Results:
    results: tuple[Result, ...]


@message
@dataclass(frozen=True, slots=True)
class Ping:
    """Either side, to see whether the other lives; answered by Pong."""

    request: int = 0


@message
@dataclass(frozen=True, slots=True)
class Pong:
    request: int = 0
