"""How the bytes of a blob travel: whoever lacks one asks for it, and says how far the other side may go."""

from __future__ import annotations

from skyward_agent.wire.frames import message
from skyward_agent.wire.records import record


@message
@record(frozen=True, slots=True)
class Fetch:
    """Send this blob from `offset` on, no further than `until` before a More says so. Answered by Chunks, or one Placed, or one
    Unavailable. A second one begins anew."""

    digest: str
    offset: int
    until: int
    shared: bool = False
    """The asker reads and writes the operator's shared directory: a file may be handed over instead."""
    direct: bool = False
    """The asker can read from an address by itself."""


@message
@record(frozen=True, slots=True)
class More:
    """The sender of this blob may go on to here."""

    digest: str
    until: int


@message
@record(frozen=True, slots=True)
class Chunk:
    digest: str
    offset: int
    data: memoryview
    """Good only until the handler returns, when the frame is a small one."""


@message
@record(frozen=True, slots=True)
class Placed:
    """Instead of chunks: the whole blob is a file in the shared directory. Towards the operator it is the operator's from now
    on."""

    digest: str
    name: str
    url: str = ""
    """Instead of a name: where the blob can be read for a while."""


@message
@record(frozen=True, slots=True)
class Unavailable:
    """This blob cannot be had from here. `error` names a class of `skyward.errors`."""

    digest: str
    error: str
    message: str
