"""What agents and clients share: refusals, ranks, output, signs of life."""

from __future__ import annotations

from skyward_agent.wire.frames import message
from skyward_agent.wire.records import record

VERSION = 1


# --- why an agent is refused (`Refused.error` with request 0); anything else is tried again with backoff ------------

REFUSED_DISMISSED = "Dismissed"
"""The node has left: the agent stops for good."""
REFUSED_SUPERSEDED = "Superseded"
"""A newer incarnation of this node's agent holds its place: this one exits."""
REFUSED_UNAUTHENTICATED = "Unauthenticated"
"""The token is not valid for this node: the agent tries the other one that it has."""


@message
@record(frozen=True, slots=True)
class Refused:
    """The request (or, with request 0, the connection) is refused. `error` names a class of `skyward.errors`."""

    request: int
    error: str
    message: str


@record(frozen=True, slots=True)
class Peer:
    name: str
    address: str


@record(frozen=True, slots=True)
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
@record(frozen=True, slots=True)
class Outputs:
    outputs: tuple[Output, ...]


@message
@record(frozen=True, slots=True)
class Ping:
    """Either side, to see whether the other lives; answered by Pong."""

    request: int = 0


@message
@record(frozen=True, slots=True)
class Pong:
    request: int = 0
