"""The simulator as part of the suite: a few seeds, the corpus, and that the same seed is the same run everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.corpus import CORPUS, Found
from tests.simulation.run import Outcome, simulate
from tests.simulation.scenario import choose_scenario

ROOT = Path(__file__).parents[2]


def check(outcome: Outcome) -> None:
    replay = f"hack/simulate --replay {outcome.seed} --profile {outcome.profile}"
    assert not outcome.violations, f"{outcome.violations[0]}\n{replay}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_violated_in_an_hour_of_faults_and_all_comes_true_afterwards(seed: int) -> None:
    check(simulate(choose_scenario(seed, hours=1.0)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_violated_where_pools_shop_over_two_providers(seed: int) -> None:
    check(simulate(choose_scenario(seed, hours=1.0, profile="shops")))


@pytest.mark.slow
@pytest.mark.parametrize("found", CORPUS, ids=str)
def test_what_was_found_once_stays_mended(found: Found) -> None:
    check(simulate(found.scenario))


@pytest.mark.slow
def test_a_seed_is_the_same_run_in_every_process() -> None:
    digests = {_digest(hash_seed) for hash_seed in ("1", "2")}

    assert len(digests) == 1


def _digest(hash_seed: str) -> str:
    command = [sys.executable, str(ROOT / "hack" / "simulate.py"), "--seeds", "3:5", "--hours", "0.2", "--jobs", "1"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=False
    )
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("seed ")]
    assert lines, done.stdout + done.stderr
    return " ".join(word for line in lines for word in line if len(word) == 16)
