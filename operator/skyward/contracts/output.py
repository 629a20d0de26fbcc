"""What user code wrote, kept for a while so that it can be read and followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from skyward_agent.wire.messages import Output


class OutputLog(Protocol):
    """Recent output, bounded in memory; the oldest goes first. Followers see pieces in the order of arrival."""

    def append(self, outputs: Sequence[Output]) -> None: ...

    def read(self, *, task: str | None = None, node: str | None = None, tail: int | None = None) -> Sequence[Output]:
        """What is kept of one task (by uid) or one node (by name), oldest first; the last `tail` lines if given."""
        ...

    def subscribe(self, callback: Callable[[Sequence[Output]], None]) -> Callable[[], None]:
        """Call back on the event loop with everything that arrives. Returns how to stop it."""
        ...
