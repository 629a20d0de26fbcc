"""What a task may ask for beyond an ordinary call: checked, and settled when it is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from skyward.contracts import ORDINARY, PoolFacts, Submission
from skyward.errors import Invalid
from skyward_agent.wire.messages import (
    AT_LEAST_ONCE,
    AT_MOST_ONCE,
    FAIL,
    INFRASTRUCTURE,
    REPLACE_RANK,
    RETRY,
    Policy,
)

_DELIVERIES = (AT_LEAST_ONCE, AT_MOST_ONCE)
_LOSSES = (RETRY, FAIL, REPLACE_RANK)
_LONGEST_S = 366 * 86_400.0
_NAME_CHARACTERS = 253
_FEW = 32


def check(submission: Submission) -> None:
    """Raises Invalid."""
    policy = submission.policy
    _check_delivery(submission, policy)
    _check_retries(submission, policy)
    _check_broadcast(submission, policy)
    for name in ("backoff_s", "backoff_max_s", "ttl_s"):
        if not 0 <= getattr(policy, name) <= _LONGEST_S:
            raise Invalid(f"{name} must be a number of seconds from 0 to a year, not {getattr(policy, name)}")
    if policy.deadline_s is not None and not 0 < policy.deadline_s <= _LONGEST_S:
        raise Invalid(f"a deadline is more than 0 seconds and at most a year away, not {policy.deadline_s}")
    if policy.deadline_at is not None and not 0 < policy.deadline_at < 1e11:
        raise Invalid(f"a deadline is in seconds since 1970, not {policy.deadline_at}")
    if len(policy.fairness_key) > _NAME_CHARACTERS:
        raise Invalid(f"the fairness key has {len(policy.fairness_key)} characters, more than {_NAME_CHARACTERS}")
    if len(policy.selector) > _FEW:
        raise Invalid(f"the selector asks for {len(policy.selector)} labels, more than {_FEW}")


def _check_delivery(submission: Submission, policy: Policy) -> None:
    if policy.delivery not in _DELIVERIES:
        raise Invalid(f"delivery {policy.delivery!r} does not exist: use {' or '.join(_DELIVERIES)}")
    if policy.delivery == AT_MOST_ONCE and (submission.max_attempts != 1 or policy.retry_on):
        raise Invalid("at-most-once never runs an item twice: set max_attempts to 1 and leave retry_on out")
    if policy.delivery == AT_MOST_ONCE and policy.on_node_loss != FAIL:
        raise Invalid(f"at-most-once never runs a rank twice: on_node_loss may only be {FAIL}")


def _check_retries(submission: Submission, policy: Policy) -> None:
    unknown = sorted(set(policy.retry_causes) - set(INFRASTRUCTURE))
    if unknown:
        raise Invalid(f"retry_causes names {unknown[0]!r}: the causes are {', '.join(INFRASTRUCTURE)}")
    if len(policy.retry_on) > _FEW or any(not 0 < len(name) <= _NAME_CHARACTERS for name in policy.retry_on):
        raise Invalid(f"retry_on takes up to {_FEW} qualified names of exception classes")
    infrastructure = sorted(set(policy.retry_on) & set(INFRASTRUCTURE))
    if infrastructure:
        raise Invalid(f"retry_on names {infrastructure[0]}, which is not an exception: name it in retry_causes")
    if policy.max_retries < 0 or bool(policy.max_retries) != bool(policy.retry_on):
        raise Invalid("retry_on says which exceptions are tried again and max_retries how often: give both")
    if policy.max_retries >= submission.max_attempts and policy.retry_on:
        raise Invalid(
            f"max_retries {policy.max_retries} needs max_attempts {policy.max_retries + 1} or more, "
            f"not {submission.max_attempts}: max_attempts bounds all tries of an item"
        )


def _check_broadcast(submission: Submission, policy: Policy) -> None:
    if policy.on_node_loss not in _LOSSES:
        raise Invalid(f"on_node_loss {policy.on_node_loss!r} does not exist: use {', '.join(_LOSSES)}")
    if policy.on_node_loss != FAIL and submission.mode != "broadcast":
        raise Invalid(
            f"on_node_loss is for broadcasts: a {submission.mode} is tried again elsewhere, unless NodeLost is left "
            "out of retry_causes"
        )


def check_selector(selector: Mapping[str, str], pool: PoolFacts) -> None:
    """Raises Invalid for what no node of this pool can ever have."""
    for key, value in selector.items():
        possible = pool.fixed.get(key)
        if possible is not None and value not in possible:
            raise Invalid(
                f"no node of pool {pool.key} can ever have {key}={value}: there it is {' or '.join(sorted(possible))}"
            )


def settled(policy: Policy, now: float) -> Policy:
    """With one absolute deadline."""
    if policy is ORDINARY or policy.deadline_s is None:
        return policy
    at = now + policy.deadline_s
    return replace(
        policy, deadline_s=None, deadline_at=at if policy.deadline_at is None else min(at, policy.deadline_at)
    )


def words(selector: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
