"""Attempts: how one is named, how it ends, and why it did not succeed."""

from __future__ import annotations

from dataclasses import dataclass, field

# --- outcomes (API: an attempt's `outcome`) -----------------------------------------------------------------------

SUCCEEDED = "Succeeded"
FAILED = "Failed"
CANCELLED = "Cancelled"
TIMED_OUT = "TimedOut"
NODE_LOST = "NodeLost"
CHILD_DIED = "ChildDied"
OUT_OF_MEMORY = "OutOfMemory"
NOT_UNPICKLABLE = "NotUnpicklable"
"""The node could not load the function or its arguments (a module is missing there)."""
RESULT_NOT_PICKLABLE = "ResultNotPicklable"
DEAD_LETTER = "DeadLetter"

OUTCOMES = (
    SUCCEEDED,
    FAILED,
    CANCELLED,
    TIMED_OUT,
    NODE_LOST,
    CHILD_DIED,
    OUT_OF_MEMORY,
    NOT_UNPICKLABLE,
    RESULT_NOT_PICKLABLE,
    DEAD_LETTER,
)

INFRASTRUCTURE = (NODE_LOST, CHILD_DIED, OUT_OF_MEMORY)
"""Outcomes that may be tried again while the task's `max_attempts` lasts; all others are final."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not succeed, readable without unpickling anything."""

    type: str
    """Qualified name of the exception's class, or the outcome's name when there was no exception."""
    message: str
    traceback: str = ""
    """The remote traceback's text."""
    exception: bytes = b""
    """The pickled exception; empty when it could not be pickled."""
    evidence: dict[str, str] = field(default_factory=dict)
    """Signal, exit code, last output, memory: what an infrastructure outcome leaves behind."""
    bases: tuple[str, ...] = ()
    """Qualified names of the exception's base classes, nearest first: what a retry may be asked for by."""


@dataclass(frozen=True, slots=True)
class AttemptId:
    """Names one try of one work item. The number fences (older ones are refused), the secret authenticates."""

    task: str
    item: int
    attempt: int
    secret: str
