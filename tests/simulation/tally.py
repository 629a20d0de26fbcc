"""What many seeds did together, added up as they end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.simulation.coverage import missing
from tests.simulation.run import Outcome

_TOLD = 3
"""So many violations of one seed are listed."""


class Tally:
    def __init__(self) -> None:
        self.seeds = 0
        self.bad: list[Outcome] = []
        """Those with a violation."""
        self._faults: Counter[str] = Counter()
        self._points: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._hours = 0.0
        self._cpu_s = 0.0
        self._settled_s: list[float] = []
        self._drained_s: list[float] = []

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        if outcome.violations:
            self.bad.append(outcome)
        self._faults.update(outcome.faults)
        self._points.update(outcome.points)
        self._sums["steps"] += outcome.steps
        self._sums["calls"] += outcome.provider_calls
        self._sums["faulted"] += outcome.faulted_calls
        self._sums["crashes"] += outcome.crashes
        self._hours += outcome.hours
        self._cpu_s += outcome.cpu_s
        self._settled_s.append(outcome.settled_s)
        self._drained_s.append(outcome.drained_s)

    @property
    def hours_per_cpu_s(self) -> float:
        return self._hours / max(self._cpu_s, 1e-9)

    def progress(self, seeds: int) -> str:
        return (
            f"{self.seeds} of {seeds} seeds, {self._hours:.0f} simulated hours, {self.hours_per_cpu_s:.2f} per CPU second, "
            f"{len(self.bad)} with a violation"
        )

    def summary(self) -> dict[str, Any]:
        calls, crashes = self._sums["calls"], self._sums["crashes"]
        return {
            "seeds": self.seeds,
            "steps": self._sums["steps"],
            "hours": round(self._hours, 2),
            "provider_calls": calls,
            "faulted_share": round(self._sums["faulted"] / max(calls, 1), 3),
            "faults": dict(sorted(self._faults.items())),
            "crashes": crashes,
            "crashes_per_hour": round(crashes / max(self._hours, 1e-9), 1),
            "points": dict(sorted(self._points.items())),
            "unreached": missing(self._points),
            "violations": [
                {
                    "seed": outcome.seed,
                    "profile": outcome.profile,
                    "rule": one.rule,
                    "about": one.about,
                    "message": one.message,
                }
                for outcome in self.bad
                for one in outcome.violations[:_TOLD]
            ],
            "settled_s": _spread(self._settled_s),
            "drained_s": _spread(self._drained_s),
            "hours_per_cpu_s": round(self.hours_per_cpu_s, 3),
        }


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    return {"p50": round(ordered[len(ordered) // 2]), "worst": round(ordered[-1])}
