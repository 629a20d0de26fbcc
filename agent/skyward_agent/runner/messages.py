"""What the agent and one of its child processes say to each other, over a socket pair, in frames of the wire."""

from __future__ import annotations

from dataclasses import dataclass, field

from skyward_agent.wire.frames import message
from skyward_agent.wire.messages import Failure

CHANNEL_LOST = 113
"""Exit status of a child that can no longer speak to its agent."""


@message
@dataclass(frozen=True, slots=True)
class RunFunction:
    """Run one attempt. The child answers with one FunctionEnded, or dies."""

    digest: str
    function: bytes
    """Empty when this child was given the function before."""
    forget: tuple[str, ...]
    """Functions the child need not keep any longer."""
    arguments: bytes
    directory: str
    """Working directory of this attempt; made by the child, which also removes it."""
    memory_limited: bool
    env: dict[str, str] = field(default_factory=dict)


@message
@dataclass(frozen=True, slots=True)
class FunctionEnded:
    outcome: str
    value: bytes
    failure: Failure | None
    seconds: float
    clean: bool
    """Nothing of the attempt lives on in this process: it may take another one."""


@message
@dataclass(frozen=True, slots=True)
class RunnerReady:
    """The child is warm."""

    pid: int
