"""Condition updates: short ways to write them, and how they change an object's conditions."""

from __future__ import annotations

from collections.abc import Iterable

from skyward.api import Condition, Reason, Status, drop_condition, set_condition, to_time
from skyward.planner.plans import ConditionUpdate


def true(type_: str, reason: Reason, message: str = "") -> ConditionUpdate:
    return ConditionUpdate(type_, Status.TRUE, reason, message)


def false(type_: str, reason: Reason, message: str = "") -> ConditionUpdate:
    return ConditionUpdate(type_, Status.FALSE, reason, message)


def unknown(type_: str, reason: Reason, message: str = "") -> ConditionUpdate:
    return ConditionUpdate(type_, Status.UNKNOWN, reason, message)


def drop(type_: str) -> ConditionUpdate:
    """This condition exists only while true, and it is not."""
    return ConditionUpdate(type_, None, Reason.AS_DESIRED)


def apply_updates(
    conditions: tuple[Condition, ...],
    updates: Iterable[ConditionUpdate],
    now: float,
    observed_generation: int = 0,
) -> tuple[Condition, ...]:
    """These conditions after the updates. Transition times move only with a status."""
    for update in updates:
        if update.status is None:
            conditions = drop_condition(conditions, update.type)
        else:
            conditions = set_condition(
                conditions,
                update.type,
                update.status,
                update.reason,
                update.message,
                now=to_time(now),
                observed_generation=observed_generation,
            )
    return conditions
