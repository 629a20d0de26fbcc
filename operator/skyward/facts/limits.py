"""What bounds launches: absolute ceilings of the operator, and what is counted against them."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api import Reason
from skyward.facts.decision import Inputs


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why something that is due may not be done now, by which rule and from which numbers. It lifts itself."""

    rule: str
    reason: Reason
    message: str
    inputs: Inputs = ()


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The operator's settings say why each default is what it is."""

    pool_instances: int = 1000
    instances: int = 10_000
    pool_creates: int = 500
    """Instances that one pool asks for within ten minutes."""
    creates: int = 2000
    pool_usd_per_hour: float = 500.0
    usd_per_hour: float = 1000.0


@dataclass(frozen=True, slots=True)
class Use:
    """What one pool, or all of them, has of each of these: counted from instances and create calls, never from nodes."""

    instances: int = 0
    creates: int = 0
    usd_per_hour: float = 0.0

    def __add__(self, other: Use) -> Use:
        return Use(
            self.instances + other.instances, self.creates + other.creates, self.usd_per_hour + other.usd_per_hour
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the next launch of one pool."""

    ceilings: Ceilings = Ceilings()
    own: Use = Use()
    everywhere: Use = Use()
    allowance: int | None = None
    """How many instances may be asked for at once after a refusal; None for as many as are wanted."""
