"""Where a mutant's harm is looked for: seeded worlds, one after another. Data only: nothing is imported before the mutant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Simulated:
    """Runs of the simulator. The narrower the world, the sooner the harm shows; the same worlds are clean without the mutant."""

    profile: str = ""
    """Kind of provider; each seed draws its own when empty."""
    hours: float = 1.0
    faults: tuple[str, ...] = ()
    """Kinds that are in force, beside deaths; those that the seed draws when empty."""
    actors: tuple[str, ...] = ()
    """Who acts; everybody when empty."""
    weight: float = 3.0
    """Of these kinds of fault."""
    operators: int = 0
    """Processes over one store; as the seed draws when 0."""
    nodes: int = 0
    """At most, all in one pool; as the seed draws when 0."""
    hint: int | None = None
    """The seed that killed it: it runs first."""

    def __str__(self) -> str:
        return f"simulator {self.profile}".rstrip()


@dataclass(frozen=True, slots=True)
class Laws:
    """The laws of pure code, over random worlds."""

    kind: str = "pool"
    """What is random: pool, node, history (of both), ending (of a pool), template, queue (of tasks), or guards."""
    hint: int | None = None

    def __str__(self) -> str:
        return f"properties {self.kind}"


Trial = Simulated | Laws


def seeds_of(trial: Trial, count: int) -> tuple[int, ...]:
    """In the order in which they run."""
    first = () if trial.hint is None else (trial.hint,)
    return (*first, *(seed for seed in range(count) if seed != trial.hint))[:count]
