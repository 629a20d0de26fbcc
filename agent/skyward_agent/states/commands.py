"""What the agent is to do: the output of its state machine, carried out in order."""

from __future__ import annotations

from enum import StrEnum

from skyward_agent.wire.messages import PROCESS, AttemptId, Lease, NeedFunctions, Report, Returned, Started, Want
from skyward_agent.wire.records import record


class ExitReason(StrEnum):
    DISMISSED = "dismissed"
    SUPERSEDED = "superseded"
    TERMINATED = "terminated"
    UPDATED = "updated"
    """Another version of the agent is in place: start it."""
    ORPHANED = "orphaned"
    """No word from the operator for longer than the pool allows."""


@record(frozen=True, slots=True)
class SpawnChild:
    lane: int
    child: int
    executor: str = PROCESS
    """A process of its own, or a thread of the one that all such lanes share."""


@record(frozen=True, slots=True)
class RunAttempt:
    """Hand this attempt to the child, which begins it when the ones before it have ended."""

    lane: int
    child: int
    lease: Lease
    function: bytes


@record(frozen=True, slots=True)
class TakeBack:
    """Take from the child all that it has not begun. Answered by a TakenBack, before anything else is told of this child but
    what it has said already."""

    lane: int
    child: int


@record(frozen=True, slots=True)
class StopChild:
    """Ask the child's whole process tree to end, or kill it. Repeats are harmless."""

    lane: int
    child: int
    kill: bool


@record(frozen=True, slots=True)
class Send:
    """Say this to the gateway. Only given while connected."""

    message: Started | Want | NeedFunctions | Returned


@record(frozen=True, slots=True)
class Deliver:
    """Send this report. The same one comes again after each reconnection, until it is acknowledged."""

    report: Report


@record(frozen=True, slots=True)
class Spool:
    """Make this report survive the agent: it is not acknowledged yet."""

    report: Report


@record(frozen=True, slots=True)
class Forget:
    """This attempt's report is no longer needed."""

    attempt: AttemptId


@record(frozen=True, slots=True)
class Exit:
    """Every child is gone: end the process."""

    reason: ExitReason


Command = SpawnChild | RunAttempt | TakeBack | StopChild | Send | Deliver | Spool | Forget | Exit
