"""How a pool replaces its nodes, and how many of them may be disrupted by choice at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, field_validator, model_validator

from skyward.api.base import Word
from skyward.api.quantities import Duration, Instant, IntOrPercent, parse_duration

NONE = (0, "0%")
DRIFTED = "Drifted"
_LATER_REASONS = ("Idle", "Expired", "Cheaper", "Underutilized")
_CRON_FIELDS = 5
_ANY_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def _check_cron(text: str) -> str:
    try:
        next(CronSim(_fields(text), _ANY_DAY))
    except (CronSimError, StopIteration) as err:
        why = f": {str(err).lower()}" if str(err) else ""
        raise ValueError(
            f"{text!r} is not a schedule{why}; write five fields (minute hour day month weekday, in UTC) like '0 22 * * *'"
        ) from None
    return text


def _fields(text: str) -> str:
    if len(text.split()) != _CRON_FIELDS:
        raise CronSimError("wrong number of fields")
    return text


Cron = Annotated[str, AfterValidator(_check_cron)]


class RolloutSpec(Word):
    strategy: Literal["RollingUpdate", "OnDelete", "Recreate"] = "RollingUpdate"
    """`RollingUpdate` replaces a few nodes at a time, `Recreate` all of them before any new one is made, `OnDelete` only those
    that a user deletes or annotates with `skyward.dev/replace`."""
    max_unavailable: IntOrPercent = 1
    """How many of `nodes` may be out of service by our own choice; a share rounds down. With `maxSurge` none may: an old node
    leaves when a new one serves."""
    max_surge: IntOrPercent = 0
    """How many nodes above `nodes` may exist meanwhile; a share rounds up."""
    min_ready: Duration = "0s"
    """A node counts as available once it has been ready for so long."""
    canary: IntOrPercent = 0
    """So many nodes of the new template must be available before more are made; a share rounds up."""
    not_before: Instant | None = None
    """No node is replaced for a new template before this time."""

    @model_validator(mode="after")
    def _can_move(self) -> RolloutSpec:
        if self.strategy == "Recreate":
            if self.max_surge not in NONE or self.max_unavailable != 1:
                raise ValueError(
                    "maxUnavailable and maxSurge mean nothing with Recreate, which replaces all nodes at once"
                )
        elif self.max_unavailable in NONE and self.max_surge in NONE:
            raise ValueError("maxUnavailable and maxSurge cannot both be 0: no node could ever be replaced")
        if self.strategy != "RollingUpdate" and self.canary not in NONE:
            raise ValueError(f"canary means nothing with {self.strategy}; it belongs to RollingUpdate")
        return self


class DisruptionBudget(Word):
    nodes: IntOrPercent
    """How many nodes may be disrupted by choice at once; a share rounds up, 0 means none."""
    reasons: tuple[Literal["Drifted"], ...] = ()
    """What it is about; everything when empty."""
    schedule: Cron | None = None
    """When it begins to hold, in cron's five fields and UTC. Always, when absent."""
    duration: Duration | None = None
    """How long it holds each time."""

    @field_validator("reasons", mode="before")
    @classmethod
    def _occurs_in_this_version(cls, reasons: Any) -> Any:
        for reason in reasons if isinstance(reasons, list | tuple) else ():
            if reason in _LATER_REASONS:
                raise ValueError(f"{reason} is not supported by this version; supported: {DRIFTED}")
        return reasons

    @model_validator(mode="after")
    def _has_an_end(self) -> DisruptionBudget:
        if (self.schedule is None) is not (self.duration is None):
            raise ValueError(
                "schedule and duration belong together: give both, or neither for a budget that always holds"
            )
        if self.duration is not None and parse_duration(self.duration) <= 0:
            raise ValueError("duration must be longer than 0s")
        return self


class DisruptionSpec(Word):
    budgets: Annotated[tuple[DisruptionBudget, ...], Field(max_length=20)] = ()
    """All that hold at a time are kept; `rollout` is kept besides."""
