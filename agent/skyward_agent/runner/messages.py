"""What the agent and one of its child processes say to each other, in frames of the wire."""

from __future__ import annotations

from skyward_agent.wire.frames import message
from skyward_agent.wire.messages import Failure
from skyward_agent.wire.records import record

CHANNEL_LOST = 113
"""Exit status of a child that can no longer speak to its agent."""
OPEN = "open"
"""To a process of threads, with a key and four descriptors: have a thread that serves these."""
INTERRUPT = "interrupt"
"""To a process of threads, with a key: ask that thread to end."""


@message
@record(frozen=True, slots=True)
class RunFunction:
    """Run one attempt. The child answers with one FunctionEnded, or dies. It begins no other before it has answered."""

    digest: str
    function: bytes
    """Empty when this child was given the function before."""
    forget: tuple[str, ...]
    """Functions the child need not keep any longer."""
    arguments: bytes
    memory_limited: bool
    env: dict[str, str] | None = None
    """None when it is that of the attempt before."""
    refusal: str = ""
    """Why this attempt cannot run here; empty when it can."""


@message
@record(frozen=True, slots=True)
class FunctionEnded:
    outcome: str
    value: bytes
    failure: Failure | None
    seconds: float
    clean: bool
    """Nothing of the attempt lives on in this process: it goes on to the next one. Otherwise it begins no other."""
    busy_s: float = 0.0
    """From taking the attempt up to this answer."""
    wrote: bool = False
    """Output of it is in the pipes: the child waits for Drained, so that it is told apart from the next one's."""


@message
@record(frozen=True, slots=True)
class Yielded:
    """The function yielded. The child goes on when it has room."""

    number: int
    value: bytes
    wrote: bool
    """Output from before is in the pipes: the child waits for Drained."""
    stream: int
    """Which of this child's streams."""


@message
@record(frozen=True, slots=True)
class Room:
    """So many values were taken; the child may go on to `until`. May come late, when the child is at another stream."""

    stream: int
    received: int
    until: int


@message
@record(frozen=True, slots=True)
class Drained:
    """The agent has taken in all output."""


@message
@record(frozen=True, slots=True)
class RunnerReady:
    """The child is warm."""

    pid: int
