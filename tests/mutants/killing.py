"""One mutant in this process: worlds run one after another until a checker notices. Run in a fresh process for each mutant."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

from tests.mutants.mutant import Mutant, StaleMutant, install
from tests.mutants.trials import Laws, Simulated, Trial, seeds_of

_STILLBORN = 3
"""So many runs that fail before anything works make it a mutant that proves nothing."""


class Fate(StrEnum):
    KILLED = "killed"
    SURVIVED = "survived"
    STALE = "stale"
    BROKEN = "broken"
    """It does not even run: that anybody notices proves no checker."""
    UNDECIDED = "undecided"
    """Its time was over first."""


@dataclass(frozen=True, slots=True)
class Harm:
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: str
    fate: Fate
    trial: str = ""
    rule: str = ""
    """Of the checker that noticed."""
    seed: int | None = None
    runs: int = 0
    seconds: float = 0.0
    message: str = ""

    def to_json(self) -> dict[str, object]:
        return asdict(self)


class Stillborn(Exception):
    """A run failed before anything worked."""


Look = Callable[[int], Harm | None]
"""Runs one seed. Raises Stillborn."""


def judge(mutant: Mutant, seeds: int, until: float = float("inf")) -> Verdict:
    """At most so many seeds of each of its trials, and no longer than `until` on the process clock."""
    begin = time.perf_counter()
    runs = stillborn = 0
    try:
        install(mutant)
        for trial in mutant.trials:
            look = observer(trial)
            for seed in seeds_of(trial, seeds):
                if time.perf_counter() > until:
                    return Verdict(mutant.name, Fate.UNDECIDED, runs=runs, seconds=time.perf_counter() - begin)
                runs += 1
                try:
                    harm = look(seed)
                except Stillborn as error:
                    stillborn += 1
                    if stillborn == _STILLBORN:
                        return Verdict(mutant.name, Fate.BROKEN, str(trial), runs=runs, message=str(error))
                    continue
                if harm is not None:
                    seconds = time.perf_counter() - begin
                    return Verdict(mutant.name, Fate.KILLED, str(trial), harm.rule, seed, runs, seconds, harm.message)
    except StaleMutant as error:
        return Verdict(mutant.name, Fate.STALE, message=str(error))
    except Exception as error:  # whatever a mutated module does when it is imported
        return Verdict(mutant.name, Fate.BROKEN, message="".join(traceback.format_exception_only(error)).strip())
    return Verdict(mutant.name, Fate.SURVIVED, runs=runs, seconds=time.perf_counter() - begin)


def observer(trial: Trial) -> Look:
    """Imports what is under test: the mutant must be there first."""
    return _laws(trial) if isinstance(trial, Laws) else _violations(trial)


def _laws(trial: Laws) -> Look:
    from tests.mutants.laws import broken_law

    def look(seed: int) -> Harm | None:
        try:
            broken = broken_law(trial.kind, seed)
        except Exception as error:  # it raises where it never may: perhaps always
            raise Stillborn("".join(traceback.format_exception_only(error)).strip()) from error
        return None if broken is None else Harm(*broken)

    return look


def _violations(trial: Simulated) -> Look:
    from tests.mutants.worlds import scenario_of
    from tests.simulation.run import simulate

    def look(seed: int) -> Harm | None:
        outcome = simulate(scenario_of(trial, seed), until_violated=True)
        if not outcome.violations:
            return None
        first = outcome.violations[0]
        if first.rule in ("SIM", "S31") and not outcome.points["node ready"]:
            raise Stillborn(str(first))
        return Harm(first.rule, str(first))

    return look
