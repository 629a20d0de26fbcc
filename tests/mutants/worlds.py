"""The simulator's scenario of a trial and a seed."""

from __future__ import annotations

from dataclasses import replace

from tests.mutants.trials import Simulated
from tests.simulation.faults import ALWAYS, RATES, FaultPlan
from tests.simulation.scenario import Scenario, choose_scenario


def scenario_of(trial: Simulated, seed: int) -> Scenario:
    unknown = set(trial.faults) - RATES.keys()
    if unknown:
        raise ValueError(f"the simulator has no fault {', '.join(sorted(unknown))}")
    scenario = choose_scenario(seed, trial.hours, trial.profile or None)
    if trial.faults:
        kinds = ((kind, 1.0 if kind in ALWAYS else trial.weight) for kind in (*sorted(ALWAYS), *trial.faults))
        scenario = replace(scenario, faults=FaultPlan(tuple(dict(kinds).items())))
    if trial.actors:
        scenario = replace(scenario, actors=frozenset(trial.actors))
    if trial.nodes:
        scenario = replace(scenario, pools=1, most_nodes=trial.nodes)
    return replace(scenario, operators=trial.operators) if trial.operators else scenario
