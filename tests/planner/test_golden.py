"""Histories of roll-outs and failures, to be read by people. `SKYWARD_REGENERATE=1` writes them anew; review the change.

Each is run in the fixed order that its file tells, in seeded orders of the nodes, which must tell the same, and with
machines that boot in any order, where `TinyWorld` checks the bounds in every pass and the end must be the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random, SystemRandom

import pytest

from tests.planner.histories import Scenario, run
from tests.planner.scenarios import SCENARIOS
from tests.planner.tiny_world import TinyWorld

GOLDEN = Path(__file__).parent / "golden" / "rollouts"
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@every_scenario
def test_the_history_is_as_it_was_reviewed(scenario: Scenario) -> None:
    world = TinyWorld(scenario.pool)

    history = run(scenario, world)

    path = GOLDEN / f"{scenario.name}.txt"
    if os.environ.get("SKYWARD_REGENERATE"):
        path.write_text(history)
    if not path.exists():
        pytest.fail(f"{path} is missing; run with SKYWARD_REGENERATE=1 and review it")
    assert history == path.read_text()
    assert world.is_settled is scenario.comes_to_rest


def test_every_history_has_its_scenario() -> None:
    assert {path.stem for path in GOLDEN.glob("*")} == {scenario.name for scenario in SCENARIOS}


@every_scenario
def test_the_order_of_the_nodes_changes_nothing(scenario: Scenario) -> None:
    assert run(scenario, TinyWorld(scenario.pool, order=Random(1))) == (GOLDEN / f"{scenario.name}.txt").read_text()


@pytest.mark.slow
@every_scenario
def test_nodes_may_become_ready_in_any_order(scenario: Scenario) -> None:
    """Seeded, and fresh in every run: the seed is told when it fails."""
    for seed in (1, 2, SystemRandom().randrange(2**32)):
        world = TinyWorld(scenario.pool, order=Random(seed), delays=Random(seed + 1))
        try:
            run(scenario, world)
            if scenario.comes_to_rest:
                world.run_until_settled(200)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
