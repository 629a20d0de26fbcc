"""What user code wrote, kept for a while so that it can be read, followed, and taken up again where reading broke off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from skyward_agent.wire.messages import Output


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A piece of one task's or one node's log. Offsets and lines count everything that was ever written to it, in the order of
    arrival: what lies between two pieces was let go."""

    offset: int
    """Bytes before it."""
    line: int
    """Lines that ended before it."""
    at: float
    """When it came, seconds since 1970."""
    output: Output

    @property
    def end(self) -> int:
        return self.offset + len(self.output.data)


class OutputLog(Protocol):
    """Recent output, bounded in memory; the oldest goes first."""

    def append(self, outputs: Sequence[Output]) -> None: ...

    def pieces(self, *, task: str = "", node: str = "", start: int = 0) -> Sequence[LogPiece]:
        """What is kept of one task (by uid) or one node (by name) from this offset on, oldest first. The first piece begins at
        the offset, or after it when what was there is let go."""
        ...

    def subscribe(self, callback: Callable[[Sequence[Output]], None]) -> Callable[[], None]:
        """Call back on the event loop with everything that arrives, once it is kept. Returns how to stop it."""
        ...
