"""Disruption budgets: how many nodes may be disrupted by choice now, by the strictest budget that holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim

from skyward.api import DisruptionBudget
from skyward.api.quantities import parse_duration, resolve_share


@dataclass(frozen=True, slots=True)
class Budget:
    nodes: int | None = None
    """None: no budget holds."""
    changes_at: float | None = None
    """When one begins or ceases to hold; None when time changes nothing."""

    @property
    def is_closed(self) -> bool:
        return self.nodes == 0


def strictest(budgets: Sequence[DisruptionBudget], nodes: int, now: float) -> Budget:
    windows = [(budget, *_window(budget, now)) for budget in budgets]
    holding = [resolve_share(budget.nodes, nodes, round_up=True) for budget, holds, _ in windows if holds]
    changes = [at for _, _, at in windows if at is not None]
    return Budget(min(holding, default=None), min(changes, default=None))


def _window(budget: DisruptionBudget, now: float) -> tuple[bool, float | None]:
    """Whether it holds now, and when that may change."""
    if budget.schedule is None or budget.duration is None:
        return True, None
    begun = next(CronSim(budget.schedule, _at(now + 1), reverse=True)).timestamp()
    end = begun + parse_duration(budget.duration)
    if now < end:
        return True, end
    return False, next(CronSim(budget.schedule, _at(now))).timestamp()


def _at(now: float) -> datetime:
    return datetime.fromtimestamp(int(now), tz=UTC)
