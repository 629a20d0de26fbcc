"""Any volume of property checks. One check is one world that was planned with all its laws asserted."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from tests.properties.histories import run_history
from tests.properties.node_laws import check_node
from tests.properties.node_worlds import random_node_world
from tests.properties.pool_laws import check_pool
from tests.properties.worlds import random_world

HISTORY_CHECKS = 80
"""Of one history, about."""


class Kind(StrEnum):
    POOL = "pool"
    NODE = "node"
    HISTORY = "history"


@dataclass(frozen=True, slots=True)
class Batch:
    kind: Kind
    first: int
    """Seed of the first world."""
    count: int


@dataclass(frozen=True, slots=True)
class Violation:
    world: str
    """`kind:seed`, by which it is seen again."""
    law: str


@dataclass(slots=True)
class Report:
    checks: Counter[str] = field(default_factory=Counter)
    """By kind."""
    cpu_s: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    """Actions, steps and standing decisions: what kinds of worlds there were."""
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.checks.update(other.checks)
        self.cpu_s.update(other.cpu_s)
        self.seen.update(other.seen)
        self.violations.extend(other.violations)


def check(kind: Kind, seed: int) -> tuple[int, Counter[str]]:
    """How many checks it was, and what was seen. Raises AssertionError where a law is broken."""
    return _CHECKS[kind](seed)


def run_batch(batch: Batch) -> Report:
    report, began = Report(), time.process_time()
    for seed in range(batch.first, batch.first + batch.count):
        try:
            checks, seen = check(batch.kind, seed)
        except Exception as error:  # whatever a planner raises is a violation too: it must never raise
            checks, seen = 1, Counter[str]()
            report.violations.append(Violation(f"{batch.kind}:{seed}", _law(error)))
        report.checks[batch.kind] += checks
        report.seen.update(seen)
    report.cpu_s[batch.kind] += time.process_time() - began  # type: ignore[assignment]
    return report


def split(checks: int, seed: int, size: int = 500) -> Iterator[Batch]:
    """About so many checks, half of them of pools, in batches of about this size."""
    histories = checks * 15 // 100 // HISTORY_CHECKS
    pools = checks // 2
    nodes = max(0, checks - pools - histories * HISTORY_CHECKS)
    for kind, total, each in (
        (Kind.HISTORY, histories, max(1, size // HISTORY_CHECKS)),
        (Kind.POOL, pools, size),
        (Kind.NODE, nodes, size),
    ):
        for first in range(0, total, each):
            yield Batch(kind, seed + first, min(each, total - first))


def _law(error: Exception) -> str:
    """The law's words and its place, in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    words = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{frame.name}: {words}"[:300]


def _check_pool(seed: int) -> tuple[int, Counter[str]]:
    plan = check_pool(*random_world(seed), seed)
    return 1, Counter([*(type(action).__name__ for action in plan.actions), *(one.rule for one in plan.decisions)])


def _check_node(seed: int) -> tuple[int, Counter[str]]:
    plan = check_node(random_node_world(seed), seed)
    return 1, Counter([type(plan.step).__name__, *(one.rule for one in plan.decisions)])


def _check_history(seed: int) -> tuple[int, Counter[str]]:
    history = run_history(seed)
    return history.checks, Counter({f"history {name}": count for name, count in history.seen.items()})


_CHECKS: dict[Kind, Callable[[int], tuple[int, Counter[str]]]] = {
    Kind.POOL: _check_pool,
    Kind.NODE: _check_node,
    Kind.HISTORY: _check_history,
}
