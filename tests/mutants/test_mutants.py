"""The catalogue fits the code, names what it breaks, and two of its mutants really die."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.command import rotated
from tests.mutants.mutant import Edit, Mutant, StaleMutant, install, sources
from tests.mutants.trials import Laws, Simulated, seeds_of

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "docs" / "reliability.md"
QUICK = ("intent-not-recorded", "one-slot-twice")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_changes_the_code_in_exactly_its_place(mutant: Mutant) -> None:
    for module, source in sources(mutant.modules).items():
        changed = mutant.mutate(module, source)
        assert changed != source
        compile(changed, module, "exec")


def test_every_mutant_has_a_name_of_its_own_and_says_what_goes_wrong() -> None:
    names = Counter(mutant.name for mutant in MUTANTS)

    assert names.most_common(1)[0][1] == 1
    assert all(mutant.note and mutant.trials for mutant in MUTANTS)
    assert len(MUTANTS) >= 45


@pytest.mark.skipif(not ROWS.exists(), reason="there is no docs/reliability.md")
def test_every_broken_invariant_has_its_row() -> None:
    rows = set(re.findall(r"\b[SL]\d+\b", ROWS.read_text()))

    assert {mutant.breaks for mutant in MUTANTS} <= rows


def test_consecutive_builds_go_through_all_mutants() -> None:
    seen = {mutant.name for number in range(len(MUTANTS)) for mutant in rotated(MUTANTS, 10, number)}

    assert seen == {mutant.name for mutant in MUTANTS}
    assert len({mutant.name for mutant in rotated(MUTANTS, 10, 7)}) == 10


def test_a_seed_that_killed_comes_first_and_only_once() -> None:
    assert seeds_of(Laws("pool", 3), 5) == (3, 0, 1, 2, 4)
    assert seeds_of(Simulated(hint=900), 3) == (900, 0, 1)


def test_a_place_that_is_gone_or_there_twice_makes_a_mutant_stale() -> None:
    edit = Edit("some.module", "old", "new")

    for source in ("nothing", "old and old"):
        with pytest.raises(StaleMutant, match="occurs"):
            edit.apply(source)


def test_a_mutant_comes_before_what_it_changes() -> None:
    late = Mutant("late", "S1", (Edit("json", "dumps", "sdump"),), (Laws(),), "nothing")

    with pytest.raises(RuntimeError, match="json is imported already"):
        install(late)


@pytest.mark.slow
def test_two_quick_mutants_are_killed() -> None:
    command = [sys.executable, str(ROOT / "hack" / "mutants.py"), *QUICK, "--jobs", "1", "--seeds", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["killed"] == len(QUICK)
