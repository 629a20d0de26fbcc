"""What goes wrong, and how often: every seed enables some kinds of fault, each with a weight of its own.

A kind draws from a stream of its own, so that switching one off leaves all others where they were.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.simulation.chance import Chance

RATES: dict[str, float] = {
    # provider calls, by chance per call
    "slow": 0.10,
    "fail-before": 0.06,
    "fail-after": 0.06,
    "lost-request": 0.04,
    "rate-limited": 0.03,
    "hang": 0.01,
    "stale-read": 0.15,
    "partial-batch": 0.10,
    "capacity": 0.04,
    "quota": 0.01,
    "created-but-failed": 0.03,
    "surplus": 0.01,
    "stuck-starting": 0.03,
    "lazy-delete": 0.08,
    "not-yet": 0.06,
    # things that happen to the world, per simulated hour
    "spot-loss": 4.0,
    "console-terminate": 2.0,
    "console-stop": 2.0,
    "zombie": 1.5,
    "brown-out": 1.5,
    "foreign": 3.0,
    "orphan": 1.5,
    "price": 6.0,
    # nodes, by chance per bootstrap or per hour
    "bootstrap-fails": 0.05,
    "bootstrap-hangs": 0.03,
    "host-key": 0.03,
    "slow-bootstrap": 0.10,
    "agent-crash": 6.0,
    "agent-hang": 3.0,
    "partition": 3.0,
    "reboot": 2.0,
    "duplicate-agent": 1.5,
    "unreachable": 1.0,
    # operator processes, per simulated hour
    "crash": 14.0,
    "crash-at-seam": 10.0,
    "stop": 2.0,
    "freeze": 1.5,
    "clock-jump": 1.0,
    # manifests, per simulated hour
    "broken-manifest": 3.0,
    "git-busy": 2.0,
    "source-removed": 1.0,
    "source-replaced": 1.0,
    "source-unreadable": 1.0,
    "other-branch": 1.0,
    "watcher-silent": 1.0,
    # the store
    "slow-commit": 0.05,
    "store-fails": 1.0,
    # operator processes once more, per simulated hour: in the middle of a call that matters
    "crash-at-call": 6.0,
    # hosts and their providers' word, per simulated hour
    "spot-notice": 4.0,
    "check-fails": 4.0,
    "bad-host": 1.0,
    # what a provider does not say: per simulated hour, and by chance per listing
    "empty-listing": 1.5,
    "missing-page": 0.05,
    # what agents say again, by chance per report
    "repeated-report": 0.05,
    # machines and agents at their very beginning, by chance for each
    "dies-before-home": 0.03,
    "room-runs-out": 0.03,
    # what is said of attempts by who has no right to, by chance per report
    "forged-report": 0.05,
}
"""Every kind with its rate at weight 1."""
OF_GUEST = {
    "spot-notice": "notices",
    "check-fails": "health",
    "bad-host": "health",
    "empty-listing": "lies",
    "missing-page": "lies",
    "repeated-report": "lies",
    "dies-before-home": "births",
    "room-runs-out": "births",
    "forged-report": "strangers",
}
"""Kinds that exist only where this guest does, with their guest. They stand last among the rates: what a seed draws for all others
is what it was."""
ALWAYS = frozenset({"crash", "crash-at-seam"})
"""Enabled in every seed."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which kinds a seed enables, and their weights."""

    weights: tuple[tuple[str, float], ...]

    def without(self, kinds: frozenset[str]) -> FaultPlan:
        return FaultPlan(tuple((kind, weight) for kind, weight in self.weights if kind not in kinds))

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(kind for kind, _ in self.weights)


NO_FAULTS = FaultPlan(())


def choose_plan(chance: Chance) -> FaultPlan:
    """Swarm style: about half of the kinds, rare ones now and then in force, so that none is drowned by the others."""
    stream = chance.stream("fault plan")
    share = stream.choice((0.25, 0.5, 0.5, 0.75, 1.0))
    chosen = []
    for kind in RATES:
        weight = stream.choice((0.3, 1.0, 1.0, 2.0, 4.0))
        if stream.random() < share or kind in ALWAYS:
            chosen.append((kind, 1.0 + 0.2 * weight if kind in ALWAYS else weight))
    return FaultPlan(tuple(chosen))


class Faults:
    """The dice, and the tally. Switched off in the quiet phase."""

    def __init__(self, plan: FaultPlan, chance: Chance) -> None:
        self.on = True
        self.tally: Counter[str] = Counter()
        self._weights = dict(plan.weights)
        self._chance = chance

    def strikes(self, kind: str) -> bool:
        """Whether it happens this time."""
        weight = self._weights.get(kind)
        if weight is None or not self.on:
            return False
        if self._chance.stream(kind).random() >= RATES[kind] * weight:
            return False
        self.tally[kind] += 1
        return True

    def next_s(self, kind: str) -> float | None:
        """How long until it happens next; None when this seed does not have it."""
        weight = self._weights.get(kind)
        if weight is None:
            return None
        return self._chance.stream(kind).expovariate(RATES[kind] * weight / 3600.0)

    def struck(self, kind: str) -> None:
        self.tally[kind] += 1

    def between(self, kind: str, low: float, high: float) -> float:
        """How much, from the kind's own stream: small values as likely as large ones, by order of magnitude."""
        share = self._chance.stream(kind).random()
        return float(low * (high / low) ** share)

    def pick(self, kind: str, count: int) -> int:
        return self._chance.stream(kind).randrange(count)
