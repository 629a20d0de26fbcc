"""A violation as a story: what was going on, and the last things that happened before it."""

from __future__ import annotations

from tests.simulation.run import Outcome, simulate
from tests.simulation.scenario import Scenario

_LINES = 60


def tell(scenario: Scenario, outcome: Outcome) -> str:
    told = simulate(scenario, story=True)
    first = next((place for place, line in enumerate(told.story) if "VIOLATION" in line), len(told.story))
    head = [
        f"seed {scenario.seed}, profile {scenario.profile}, {scenario.hours:.2f} h, {scenario.pools} pools, "
        f"at most {scenario.most_nodes} nodes, schedule {scenario.schedule}",
        f"faults: {', '.join(f'{kind} ×{count}' for kind, count in sorted(told.faults.items())) or 'none'}",
        f"replay in full: hack/simulate --replay {scenario.seed} --hours {scenario.hours:g} --profile {scenario.profile}",
        *(str(violation) for violation in (told.violations or outcome.violations)[:3]),
        "",
    ]
    return "\n".join([*head, *told.story[max(0, first - _LINES) : first + 1]])
