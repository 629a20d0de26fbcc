"""What a client and the gateway say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward_agent.wire.frames import message
from skyward_agent.wire.messages.attempts import Failure
from skyward_agent.wire.messages.both import VERSION


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
