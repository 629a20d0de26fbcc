"""What a client and the gateway say to each other."""

from __future__ import annotations

from dataclasses import field

from skyward_agent.wire.frames import message
from skyward_agent.wire.messages.attempts import INFRASTRUCTURE, Failure
from skyward_agent.wire.messages.both import VERSION
from skyward_agent.wire.records import record


@message
@record(frozen=True, slots=True)
class ClientHello:
    token: str
    python: str
    version: int = VERSION
    client_version: str = ""


@message
@record(frozen=True, slots=True)
class ClientWelcome:
    installation: str
    version: int = VERSION
    shared: str = ""
    """As in AgentWelcome."""
    proof: str = ""


@message
@record(frozen=True, slots=True)
class PutFunction:
    """Makes a function known. Sent before the first Submit that names it on a connection; not answered."""

    digest: str
    data: bytes


AT_LEAST_ONCE = "at-least-once"
AT_MOST_ONCE = "at-most-once"
FAIL = "fail"
RETRY = "retry"
REPLACE_RANK = "replaceRank"


@record(frozen=True, slots=True)
class Policy:
    """What is promised of a task beyond one ordinary call. As it stands here, it is that of an ordinary one."""

    delivery: str = AT_LEAST_ONCE
    retry_on: tuple[str, ...] = ()
    """Qualified names of exception classes (their subclasses count), or outcomes of user code like `TimedOut`."""
    max_retries: int = 0
    """No exception is tried again once more than that many attempts of the item have counted."""
    retry_causes: tuple[str, ...] = INFRASTRUCTURE
    """Infrastructure outcomes after which an item is tried again."""
    backoff_s: float = 1.0
    """Before the first retry of an exception; doubled with each, and shortened by up to half by chance."""
    backoff_max_s: float = 60.0
    deadline_at: float | None = None
    """Seconds since 1970: what is not done by then ends TimedOut."""
    deadline_s: float | None = None
    """The same, from when the operator accepts the task."""
    fairness_key: str = ""
    """Whose turn it takes among tasks of its priority; empty: the submitter's."""
    selector: dict[str, str] = field(default_factory=dict)
    """Labels and fields that a node must have."""
    on_node_loss: str = FAIL
    """Broadcast: what becomes of a lost node's rank."""
    ttl_s: float = 3600.0
    """How long it is kept after it finished; 0: until a client says that it has the results, an hour at most."""


@message
@record(frozen=True, slots=True)
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
    policy: Policy | None = None
    """None: that of an ordinary call."""


@message
@record(frozen=True, slots=True)
class Submitted:
    """The task is durable."""

    request: int
    task: str
    """Its uid."""
    name: str
    items: int
    """Items it has now; in a broadcast, its ranks."""


@message
@record(frozen=True, slots=True)
class Extend:
    """More items of an open map. Idempotent by `start`; answered by Extended once durable."""

    request: int
    task: str
    start: int
    """Index of the first of these items."""
    items: tuple[bytes, ...]
    last: bool


@message
@record(frozen=True, slots=True)
class Extended:
    request: int
    items: int
    """Items the task has now."""


@message
@record(frozen=True, slots=True)
class Attach:
    """Follow a task again, from another connection: results of these items (all when empty) come as they are or get ready."""

    request: int
    task: str
    have: tuple[int, ...] = ()
    """Items whose results the client already has."""
    stream: bool = True


@message
@record(frozen=True, slots=True)
class Attached:
    """The answer to Attach; with request 0, said again to its other followers when an open map grew or was closed."""

    request: int
    task: str
    items: int
    open: bool
    mode: str = "run"
    name: str = ""


@message
@record(frozen=True, slots=True)
class Cancel:
    """Cancel a whole task; items that ended keep their outcome. Answered by Cancelled once durable."""

    request: int
    task: str
    waiting_only: bool = False
    """Leave the task as it is when a node holds any of it."""


@message
@record(frozen=True, slots=True)
class Cancelled:
    request: int
    task: str


@record(frozen=True, slots=True)
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
@record(frozen=True, slots=True)
class Results:
    results: tuple[Result, ...]


@message
@record(frozen=True, slots=True)
class Delivered:
    """The client has every result of these tasks: one that is kept only until then may go. Not answered."""

    tasks: tuple[str, ...]
