"""What the controllers need: the plugs behind their contracts, the shared mechanisms, and plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from skyward.api import Node
from skyward.contracts import AgentLink, Bootstrapper, Clock, Credentials, Driver, Ids, Store, TaskQueue
from skyward.facts import Ceilings
from skyward.kit.cache import ObjectCache
from skyward.kit.catalog import Catalog
from skyward.kit.leadership import Leadership
from skyward.kit.listings import Listings

Render = Callable[[Node], tuple[str, tuple[str, ...]]]
"""A node's bootstrap: the script and the ids of its steps, from the template the node was planned with."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How patient the controllers are; seconds unless the name says otherwise."""

    resync_s: float = 30.0
    create_timeout_s: float = 120.0
    """A create call without an answer after this long has an unknown outcome."""
    call_timeout_s: float = 60.0
    """Any other provider call."""
    cool_down_s: float = 180.0
    """How long a refused offering is left alone; on providers that are read more often, six resyncs if that is shorter."""
    lease_s: float = 30.0
    """A node whose agent was silent this long loses its attempts."""
    bootstrap_s: float = 1800.0
    local_orphan_timeout_s: float = 600.0
    """Default of `orphanTimeout` where every provider is on this host."""
    heartbeat_s: float = 60.0
    """How often the last heartbeats of all nodes reach the store, in one batch."""


@dataclass(frozen=True, slots=True)
class Deps:
    store: Store
    cache: ObjectCache
    """Started before the controllers are."""
    listings: Listings
    drivers: Mapping[str, Driver]
    bootstrapper: Bootstrapper
    link: AgentLink
    credentials: Credentials
    queue: TaskQueue
    clock: Clock
    ids: Ids
    endpoint: Callable[[], str]
    """Where agents find the task listener, `HOST:PORT`; asked when a bootstrap begins."""
    ca_pem: str
    agent_file: bytes
    authorized_key: str
    """Our public key, OpenSSH form."""
    python: str
    """The operator's own minor version."""
    render: Render
    durations: Durations = field(default_factory=Durations)
    ceilings: Ceilings = field(default_factory=Ceilings)
    """What no plan, however wrong, gets past."""
    creates_at_once: int = 16
    """Create calls that may be under way at one provider; no pool holds more than half of them."""
    workers: int = 16
    """Nodes reconciled at once; they wait for the store alone."""
    catalog: Catalog | None = None
    """What all drivers offer, for whoever else looks at it; made here when none is given."""
    leadership: Leadership | None = None
    """Acquired. None where nobody else could lead, and epochs are not kept."""
