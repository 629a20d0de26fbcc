"""What the agent is told: everything that can happen to it. Children are named by lane and number, so that news of a
replaced child is recognised and ignored."""

from __future__ import annotations

from skyward_agent.wire.messages import AttemptId, Configure, Failure, Function, Lease
from skyward_agent.wire.records import record


@record(frozen=True, slots=True)
class Welcomed:
    """The gateway let this agent in."""

    configure: Configure
    abandon: tuple[AttemptId, ...]
    """Attempts that are no longer this agent's: stop them, report nothing."""


@record(frozen=True, slots=True)
class Disconnected:
    """The connection to the gateway is gone."""


@record(frozen=True, slots=True)
class Configured:
    configure: Configure


@record(frozen=True, slots=True)
class Leased:
    leases: tuple[Lease, ...]
    functions: tuple[Function, ...]


@record(frozen=True, slots=True)
class FunctionsArrived:
    functions: tuple[Function, ...]


@record(frozen=True, slots=True)
class Acknowledged:
    attempts: tuple[AttemptId, ...]


@record(frozen=True, slots=True)
class Abandoned:
    """Stop these attempts and report them as cancelled."""

    attempts: tuple[AttemptId, ...]
    reason: str


@record(frozen=True, slots=True)
class Disowned:
    """Stop these attempts, which are no longer this agent's, and report nothing."""

    attempts: tuple[AttemptId, ...]


@record(frozen=True, slots=True)
class Recalled:
    """Give back those of these attempts that have not begun."""

    attempts: tuple[AttemptId, ...]


@record(frozen=True, slots=True)
class ChildReady:
    lane: int
    child: int


@record(frozen=True, slots=True)
class TakenBack:
    """These attempts were taken from the child before it began them, in order; of what it was given it now has one at most."""

    lane: int
    child: int
    attempts: tuple[AttemptId, ...]
    wrote: bool = False
    """Because the child's output must be told apart: attempts that write are given one by one."""


@record(frozen=True, slots=True)
class ChildFinished:
    """The child ended the oldest attempt that it was given. `clean` when it can go on: nothing of that one lives on in it."""

    lane: int
    child: int
    outcome: str
    value: bytes
    failure: Failure | None
    seconds: float
    clean: bool
    busy_s: float = 0.0
    """How long it kept the child, overhead included."""


@record(frozen=True, slots=True)
class ChildDied:
    """The child's process and all its descendants are gone."""

    lane: int
    child: int
    outcome: str
    failure: Failure
    seconds: float
    unbegun: tuple[AttemptId, ...] = ()
    """What it was given and had not begun, in order."""


@record(frozen=True, slots=True)
class MemoryExceeded:
    lane: int
    child: int
    limit_bytes: int
    peak_bytes: int


@record(frozen=True, slots=True)
class ProcessesExceeded:
    lane: int
    child: int
    limit: int
    count: int


@record(frozen=True, slots=True)
class Tick:
    """Time has passed: a deadline may be due."""


@record(frozen=True, slots=True)
class Dismissed:
    """The node leaves: stop everything and never come back."""

    reason: str


@record(frozen=True, slots=True)
class Updated:
    """Another version of the agent is in place."""


@record(frozen=True, slots=True)
class Superseded:
    """A newer incarnation holds this node's place."""


@record(frozen=True, slots=True)
class Terminated:
    """Somebody asked this process to end; it may be started again."""


Stimulus = (
    Welcomed
    | Disconnected
    | Configured
    | Leased
    | FunctionsArrived
    | Acknowledged
    | Abandoned
    | Disowned
    | Recalled
    | ChildReady
    | TakenBack
    | ChildFinished
    | ChildDied
    | MemoryExceeded
    | ProcessesExceeded
    | Tick
    | Dismissed
    | Superseded
    | Updated
    | Terminated
)
