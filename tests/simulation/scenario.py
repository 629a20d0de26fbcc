"""What a seed means: everything that is decided before a run begins. A shrunk run is the same seed with less in it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.chance import Chance
from tests.simulation.faults import FaultPlan, choose_plan
from tests.simulation.loop import Schedule
from tests.simulation.profiles import PROFILES

ACTORS = ("users", "work", "cloud", "nodes", "files", "chaos")


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    hours: float
    profile: str
    schedule: Schedule
    faults: FaultPlan
    actors: frozenset[str]
    pools: int
    most_nodes: int
    """Of all pools together."""
    operators: int
    """Processes over one store: one leads, the other waits."""

    @property
    def horizon_s(self) -> float:
        """How long things go wrong."""
        return self.hours * 3600.0


def choose_scenario(seed: int, hours: float, profile: str | None = None) -> Scenario:
    chance = Chance(seed)
    stream = chance.stream("scenario")
    drawn = stream.choice(sorted(PROFILES))
    return Scenario(
        seed=seed,
        hours=hours,
        profile=profile or drawn,
        schedule=stream.choice((Schedule.FIFO, Schedule.SHUFFLED, Schedule.PRIORITIES)),
        faults=choose_plan(chance),
        actors=frozenset(ACTORS),
        pools=stream.choice((1, 1, 1, 2, 2, 3, 5)),
        operators=stream.choice((1, 1, 2)),
        most_nodes=stream.choice((1, 2, 3, 4, 4, 6, 8, 12, 30)),
    )
