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
    said = {condition.type: condition for condition in conditions}
    for update in updates:
        if _is_said(said.pop(update.type, None), update, observed_generation):
            continue
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


def _is_said(condition: Condition | None, update: ConditionUpdate, observed_generation: int) -> bool:
    """By far the most updates change nothing. Only the first of a type is known to."""
    if condition is None:
        return False
    words = (condition.status, condition.reason, condition.message, condition.observed_generation)
    return words == (update.status, update.reason, update.message, observed_generation)
