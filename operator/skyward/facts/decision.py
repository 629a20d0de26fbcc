"""Decisions: what the operator chose to do or not to do, by which rule, and from which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skyward.api import Reason

Inputs = tuple[tuple[str, str | int | float | bool], ...]
"""What a rule looked at: (name, value), in the order of the sentence. No times relative to now: standing still, the same
world gives the same inputs."""


class DecisionKind(StrEnum):
    CREATE = "create"
    RETIRE = "retire"
    REPAIR = "repair"
    """What is there is mended rather than replaced."""
    HOLD = "hold"
    """Something that was due is kept back until somebody or something lifts it."""
    SKIP = "skip"
    """One way of several is left out, and another is taken."""
    WAIT = "wait"
    """The next step is due only after something else."""

    @property
    def stands(self) -> bool:
        """It lasts until its cause is gone; the others happen at one instant."""
        return self in (DecisionKind.HOLD, DecisionKind.SKIP, DecisionKind.WAIT)


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice of a planner about one object. Two decisions about an object are the same one when kind, rule and target
    are equal."""

    kind: DecisionKind
    rule: str
    """Name of the rule, in kebab-case: `slow-start`, `loss-breaker`, `disruption-budget`."""
    reason: Reason
    message: str
    """One sentence; the same words as in the condition and the event."""
    inputs: Inputs = ()
    target: str = ""
    """What it is about besides the object itself: a node's key, a slot, an offering; empty when nothing else."""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision on record."""

    kind: str
    """Kind of the object: `Pool`, `Node`."""
    uid: str
    """Of the object."""
    key: str
    """`namespace/name` of the object."""
    decision: Decision
    at: float
    """When it was first taken."""
    until: float | None = None
    """When it ceased to stand; None while it stands. The same as `at` for what happened at one instant."""
    count: int = 1
    """How often it was taken within the retention."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One template that a pool had."""

    pool_uid: str
    number: int
    """From 1, in the order in which the templates were first seen; a template that comes back gets a new number."""
    template_hash: str
    template: dict[str, object]
    """The replace-fields of the spec that differ from their defaults."""
    created_at: float
    cause: str = ""
    """Where it came from: the manifest's place and the snapshot's revision."""
