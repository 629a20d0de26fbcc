"""Making a violation small: take away fault kinds, time and actors as long as the same rule is still violated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.simulation.loop import Schedule
from tests.simulation.run import Outcome, simulate
from tests.simulation.scenario import Scenario

_TRIES = 60


def shrink(
    scenario: Scenario, outcome: Outcome, *, tries: int = _TRIES, run: Callable[[Scenario], Outcome] = simulate
) -> tuple[Scenario, Outcome]:
    """The smallest scenario found, and how it ended. Each attempt is a run of its own."""
    rule = outcome.violations[0].rule
    scenario = replace(scenario, hours=_enough(scenario, outcome))
    found = run(scenario)
    if not _shows(found, rule):
        return scenario, outcome
    progress = True
    while progress and tries > 0:
        progress = False
        for smaller in _smaller(scenario, found):
            tries -= 1
            attempt = run(smaller)
            if _shows(attempt, rule):
                scenario, found, progress = smaller, attempt, True
                break
            if tries <= 0:
                break
    return scenario, found


def _smaller(scenario: Scenario, outcome: Outcome) -> Iterator[Scenario]:
    """Ever smaller steps: half of the fault kinds, one of them, an actor, a pool, a calmer schedule, time."""
    kinds = sorted(scenario.faults.kinds)
    never = frozenset(kind for kind in kinds if not outcome.faults[kind])
    if never:
        yield replace(scenario, faults=scenario.faults.without(never))
    half = len(kinds) // 2
    for some in (kinds[:half], kinds[half:]):
        if some:
            yield replace(scenario, faults=scenario.faults.without(frozenset(some)))
    for actor in sorted(scenario.actors - {"users"}):
        yield replace(scenario, actors=scenario.actors - {actor})
    if scenario.pools > 1:
        yield replace(scenario, pools=scenario.pools - 1)
    if scenario.most_nodes > 1:
        yield replace(scenario, most_nodes=scenario.most_nodes // 2)
    if scenario.schedule is not Schedule.FIFO:
        yield replace(scenario, schedule=Schedule.FIFO)
    for kind in kinds:
        yield replace(scenario, faults=scenario.faults.without(frozenset({kind})))
    hours = _enough(scenario, outcome)
    if hours < scenario.hours:
        yield replace(scenario, hours=hours)


def _enough(scenario: Scenario, outcome: Outcome) -> float:
    """No longer than until the violation, where that was while faults were on."""
    first_s = outcome.violations[0].at_s
    return min(scenario.hours, (first_s + 1.0) / 3600.0)


def _shows(outcome: Outcome, rule: str) -> bool:
    return any(violation.rule == rule for violation in outcome.violations)
