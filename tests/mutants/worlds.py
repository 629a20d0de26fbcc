"""The simulator's scenario of a trial and a seed."""

from __future__ import annotations

from tests.mutants.trials import Simulated
from tests.simulation.scenario import ACTORS, Scenario, choose_scenario, narrowed


def scenario_of(trial: Simulated, seed: int) -> Scenario:
    return narrowed(
        choose_scenario(seed, trial.hours, trial.profile or None, frozenset(trial.actors or ACTORS)),
        faults=trial.faults,
        weight=trial.weight,
        actors=trial.actors,
        nodes=trial.nodes,
        operators=trial.operators,
    )
