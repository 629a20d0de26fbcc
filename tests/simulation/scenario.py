"""What a seed means: everything that is decided before a run begins. A shrunk run is the same seed with less in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.simulation.chance import Chance
from tests.simulation.faults import ALWAYS, OF_GUEST, RATES, FaultPlan, choose_plan
from tests.simulation.loop import Schedule
from tests.simulation.profiles import DRAWN

ACTORS = ("users", "work", "cloud", "nodes", "files", "chaos")
"""In every seed."""
GUESTS = ("strategies", "hands", "notices", "health", "restores", "lies", "ceilings", "births", "strangers")
"""Each in about every third seed, drawn apart from all else: a seed without them is what it was before they came."""
GUEST_SHARE = 0.35


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
    bootstrap_s: float = 1800.0
    """How long operators give a bootstrap. Few of them live for half an hour here, so some are less patient."""

    @property
    def horizon_s(self) -> float:
        """How long things go wrong."""
        return self.hours * 3600.0


def choose_scenario(
    seed: int, hours: float, profile: str | None = None, actors: frozenset[str] | None = None
) -> Scenario:
    """`actors`: exactly these, whomever the seed would invite."""
    chance = Chance(seed)
    actors = _invited(chance) if actors is None else actors
    stream = chance.stream("scenario")
    drawn = stream.choice(sorted(DRAWN))
    return Scenario(
        seed=seed,
        hours=hours,
        profile=profile or drawn,
        schedule=stream.choice((Schedule.FIFO, Schedule.SHUFFLED, Schedule.PRIORITIES)),
        faults=choose_plan(chance).without(frozenset(kind for kind, actor in OF_GUEST.items() if actor not in actors)),
        actors=actors,
        pools=stream.choice((1, 1, 1, 2, 2, 3, 5)),
        operators=stream.choice((1, 1, 2)),
        most_nodes=stream.choice((1, 2, 3, 4, 4, 6, 8, 12, 30)),
        bootstrap_s=chance.stream("patience").choice((1800.0, 1800.0, 120.0)),
    )


def narrowed(
    scenario: Scenario,
    *,
    faults: Sequence[str] = (),
    weight: float = 1.0,
    actors: Sequence[str] = (),
    nodes: int = 0,
    operators: int = 0,
) -> Scenario:
    """The same seed with less in it: beside deaths these kinds of fault alone, these actors, one pool of so many nodes, so many
    operators. Whatever is not given stays as the seed drew it."""
    unknown = set(faults) - RATES.keys()
    if unknown:
        raise ValueError(f"the simulator has no fault {', '.join(sorted(unknown))}")
    if faults:
        kinds = {kind: 1.0 if kind in ALWAYS else weight for kind in (*sorted(ALWAYS), *faults)}
        scenario = replace(scenario, faults=FaultPlan(tuple(kinds.items())))
    if actors:
        scenario = replace(scenario, actors=frozenset(actors))
    if nodes:
        scenario = replace(scenario, pools=1, most_nodes=nodes)
    return replace(scenario, operators=operators) if operators else scenario


def _invited(chance: Chance) -> frozenset[str]:
    """Where records get lost there are no tasks, which would be lost with them, and no listing lies: nobody could know what both
    records and listing leave out."""
    guests = [guest for guest in GUESTS if chance.stream(f"guest {guest}").random() < GUEST_SHARE]
    return frozenset((*ACTORS, *guests)) - (frozenset({"work", "lies"}) if "restores" in guests else frozenset())
