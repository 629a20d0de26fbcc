"""What a generator function yields, on its way from the node to whoever iterates."""

from __future__ import annotations

from skyward_agent.wire.frames import message
from skyward_agent.wire.records import record


@record(frozen=True, slots=True)
class Yield:
    """One value. Numbered per attempt from 0, without a gap: what is lost with a connection is said again."""

    task: str
    item: int
    attempt: int
    number: int
    value: bytes
    """A payload."""


@message
@record(frozen=True, slots=True)
class Yields:
    yields: tuple[Yield, ...]


@message
@record(frozen=True, slots=True)
class Demand:
    """Whoever iterates has taken this many values, and there is room for those below `until`: the function pauses there."""

    task: str
    item: int
    received: int
    until: int
    again: bool = False
    """Over a new connection: say again what was said and not taken."""
