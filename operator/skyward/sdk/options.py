"""What a caller may promise or ask of its calls beyond an ordinary one: as it is named in programs, and as it travels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypedDict

from skyward.errors import UserError
from skyward_agent.wire.messages import (
    AT_LEAST_ONCE,
    AT_MOST_ONCE,
    FAIL,
    INFRASTRUCTURE,
    REPLACE_RANK,
    RETRY,
    Policy,
)

_ORDINARY = Policy()
_TRIES = 3
_LOSSES = (RETRY, FAIL, REPLACE_RANK)


class PolicyOptions(TypedDict, total=False):
    """Options of `pool.options` and `@sky.function`."""

    delivery: str | None
    """`at-least-once`, or `at-most-once`: what may have begun is never run again."""
    retry_on: type[BaseException] | str | Iterable[type[BaseException] | str] | None
    """Exception classes (or their qualified names; subclasses count) after which an item is tried again; or `TimedOut`."""
    max_retries: int | None
    """How often that happens; 2 when only `retry_on` is given."""
    retry_backoff: float | None
    """Seconds before the first retry; doubled with each, shortened by up to half by chance."""
    retry_backoff_max: float | None
    retry_causes: Iterable[str] | None
    """Of NodeLost, ChildDied and OutOfMemory, those after which an item is tried again: all, unless it is said."""
    deadline: float | datetime | None
    """Seconds from submitting, or a time with its zone: what is not done by then ends TimedOut."""
    fairness_key: str | None
    """Whose turn it takes among calls of its priority; the user's own, unless it is said."""
    selector: Mapping[str, str] | None
    """Labels and fields (`zone`, `offering`, ...) that the node must have."""
    on_node_loss: str | None
    """Broadcast: `fail`, `retry` when the node comes back, or `replaceRank`: another node takes the lost one's rank."""
    ttl: float | None
    """Seconds for which results are kept after the task finished; 0: until they are delivered, an hour at most."""


class Options(Protocol):
    @property
    def max_attempts(self) -> int | None: ...

    @property
    def policy(self) -> Mapping[str, Any]: ...


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were named, as fields of a policy. Raises UserError."""
    known = PolicyOptions.__annotations__
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UserError(f"there is no option {unknown[0]!r}: there are {', '.join(sorted(known))}")
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            fields.update(_FIELDS[name](value) if name in _FIELDS else {name: value})
    if "retry_on" in fields:
        fields.setdefault("max_retries", _TRIES - 1)
    elif "max_retries" in fields:
        raise UserError("max_retries is given without retry_on: name the exceptions that are to be tried again")
    return fields


def policy_of(options: Options) -> Policy | None:
    """As it travels; None for an ordinary call."""
    return Policy(**options.policy) if options.policy else None


def max_attempts_of(options: Options) -> int:
    if options.max_attempts is not None:
        return options.max_attempts
    if options.policy.get("delivery") == AT_MOST_ONCE:
        return 1
    return max(_TRIES, int(options.policy.get("max_retries", 0)) + 1)


def _delivery(value: str) -> dict[str, Any]:
    if value not in (AT_LEAST_ONCE, AT_MOST_ONCE):
        raise UserError(f"delivery is {value!r}: use {AT_LEAST_ONCE} or {AT_MOST_ONCE}")
    return {"delivery": value}


def _retry_on(value: Any) -> dict[str, Any]:
    classes = (value,) if isinstance(value, str | type) else tuple(value)
    return {"retry_on": tuple(one if isinstance(one, str) else _qualified(one) for one in classes)}


def _qualified(kind: object) -> str:
    """As the node names it."""
    if not isinstance(kind, type) or not issubclass(kind, BaseException):
        raise UserError(f"retry_on takes exception classes or their names, not {kind!r:.80}")
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _max_retries(value: int) -> dict[str, Any]:
    if value < 1:
        raise UserError(f"max_retries is {value}: use 1 or more, or leave retry_on out")
    return {"max_retries": value}


def _retry_causes(value: Iterable[str]) -> dict[str, Any]:
    causes = (value,) if isinstance(value, str) else tuple(value)
    for cause in causes:
        if cause not in INFRASTRUCTURE:
            raise UserError(f"retry_causes names {cause!r}: the causes are {', '.join(INFRASTRUCTURE)}")
    return {"retry_causes": causes}


def _deadline(value: float | datetime) -> dict[str, Any]:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise UserError("deadline is a time without a zone: use seconds, or datetime.now(timezone.utc) + ...")
        return {"deadline_at": value.timestamp(), "deadline_s": None}
    return {"deadline_s": float(_positive("deadline", value)), "deadline_at": None}


def _selector(value: Mapping[str, str]) -> dict[str, Any]:
    for name, wanted in value.items():
        if not isinstance(name, str) or not isinstance(wanted, str):
            raise UserError(f"selector {name!r}: names and values are strings")
    return {"selector": dict(value)}


def _on_node_loss(value: str) -> dict[str, Any]:
    if value not in _LOSSES:
        raise UserError(f"on_node_loss is {value!r}: use {', '.join(_LOSSES)}")
    return {"on_node_loss": value}


def _ttl(value: float) -> dict[str, Any]:
    if value < 0:
        raise UserError(f"ttl is {value}: use seconds from 0 on")
    return {"ttl_s": float(value)}


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise UserError(f"{name} is {value}: use seconds above 0")
    return value


_FIELDS = {
    "delivery": _delivery,
    "retry_on": _retry_on,
    "max_retries": _max_retries,
    "retry_backoff": lambda value: {"backoff_s": float(_positive("retry_backoff", value))},
    "retry_backoff_max": lambda value: {"backoff_max_s": float(_positive("retry_backoff_max", value))},
    "retry_causes": _retry_causes,
    "deadline": _deadline,
    "selector": _selector,
    "on_node_loss": _on_node_loss,
    "ttl": _ttl,
}
