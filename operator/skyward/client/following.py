"""What a caller hands to the task connection and hears from it: a task to make, a task that is followed, and who listens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skyward.errors import SkyError
from skyward_agent.wire.messages import Demand, Output, Policy, Result, Yield


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A task to make."""

    namespace: str
    pool: str
    mode: str
    name: str
    """Of the function, for people."""
    digest: str
    function: bytes
    items: tuple[bytes, ...]
    """Pickled `(args, kwargs)` of each item."""
    open: bool = False
    max_attempts: int = 3
    timeout_s: float | None = None
    priority: int = 0
    env: dict[str, str] = field(default_factory=dict)
    stream: bool = True
    policy: Policy | None = None
    """None: that of an ordinary call."""
    key: str = ""
    """The caller's own: a repeat under it, even by another process, finds the same task. Empty: one is made up."""


@dataclass(slots=True)
class FollowedTask:
    """A task of this connection. `have` are the items whose result was handed over."""

    uid: str
    name: str
    items: int
    follower: Follower
    stream: bool
    is_open: bool
    have: set[int] = field(default_factory=set)
    demand: Demand | None = None
    yielded: Callable[[Yield], None] | None = None
    """Takes what its function yields, in any order and perhaps twice."""
    mode: str = ""
    """`run`, `map` or `broadcast`; empty when this connection made it and so knows."""
    goes_when_had: bool = False
    """The operator keeps its results only until they are here."""


class Follower(Protocol):
    """Called on the event loop; must not block. After `failed` nothing more comes."""

    def accepted(self, task: FollowedTask) -> None:
        """The task is durable. Called once, before anything else."""
        ...

    def results(self, results: Sequence[Result]) -> None:
        """Each item once, in the order they ended."""
        ...

    def output(self, outputs: Sequence[Output]) -> None: ...

    def failed(self, error: SkyError) -> None: ...
