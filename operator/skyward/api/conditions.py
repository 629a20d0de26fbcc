"""Conditions: typed facts about an object, with a cause and a time. Types and reasons are closed lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from skyward.api.base import Time, Word


class Status(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class PoolCondition(StrEnum):
    ACCEPTED = "Accepted"
    PROVIDER_READY = "ProviderReady"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    WITHIN_LIMITS = "WithinLimits"
    NODES_READY = "NodesReady"
    NODES_UP_TO_DATE = "NodesUpToDate"
    AVAILABLE = "Available"
    SCALING_UP = "ScalingUp"
    SCALING_DOWN = "ScalingDown"
    ROLLING_OUT = "RollingOut"
    REMEDIATING = "Remediating"
    DELETING = "Deleting"
    PAUSED = "Paused"
    STALLED = "Stalled"
    READY = "Ready"


class NodeCondition(StrEnum):
    LAUNCHED = "Launched"
    BOOTSTRAPPED = "Bootstrapped"
    REGISTERED = "Registered"
    INITIALIZED = "Initialized"
    READY = "Ready"
    HEALTHY = "Healthy"
    HOST_KEY_VERIFIED = "HostKeyVerified"
    DRIFTED = "Drifted"
    INTERRUPTED = "Interrupted"
    CORDONED = "Cordoned"
    DRAINED = "Drained"
    TERMINATING = "Terminating"


class SourceCondition(StrEnum):
    READY = "Ready"
    CLOCK_STEADY = "ClockSteady"
    RECORDS_CURRENT = "RecordsCurrent"


class Reason(StrEnum):
    """Why a condition is as it is, an event happened or an action is planned. One CamelCase word, never free text."""

    # manifests
    MANIFEST_ACCEPTED = "ManifestAccepted"
    MANIFEST_INVALID = "ManifestInvalid"
    CONFLICT = "Conflict"
    MANIFEST_REMOVED = "ManifestRemoved"
    DELETE_REQUESTED = "DeleteRequested"
    SOURCE_READ = "SourceRead"
    SOURCE_MISSING = "SourceMissing"
    SOURCE_BUSY = "SourceBusy"
    CLOCK_JUMPED = "ClockJumped"
    DELETION_HELD = "DeletionHeld"
    # pools
    PENDING = "Pending"
    AS_DESIRED = "AsDesired"
    TOO_FEW_NODES = "TooFewNodes"
    TOO_MANY_NODES = "TooManyNodes"
    NODE_LOST = "NodeLost"
    NODE_FAILED = "NodeFailed"
    SPEC_CHANGED = "SpecChanged"
    TEMPLATE_CHANGED = "TemplateChanged"
    TEMPLATE_FAILING = "TemplateFailing"
    POOL_DELETED = "PoolDeleted"
    PAUSED = "Paused"
    NOT_BEFORE = "NotBefore"
    ON_DELETE = "OnDelete"
    DO_NOT_DISRUPT = "DoNotDisrupt"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    CANARY_PENDING = "CanaryPending"
    REPLACEMENT_PENDING = "ReplacementPending"
    NOT_SYNCED = "NotSynced"
    LINEAGE_UNKNOWN = "LineageUnknown"
    PROVIDER_ANSWERS = "ProviderAnswers"
    BACKING_OFF = "BackingOff"
    SLOW_START = "SlowStart"
    CEILING_REACHED = "CeilingReached"
    REMEDIATION_BLOCKED = "RemediationBlocked"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    CAPACITY_FOUND = "CapacityFound"
    NO_OFFERING_FITS = "NoOfferingFits"
    QUOTA_EXCEEDED = "QuotaExceeded"
    BALANCE_EXHAUSTED = "BalanceExhausted"
    CREDENTIALS_REJECTED = "CredentialsRejected"
    REQUEST_REJECTED = "RequestRejected"
    # nodes
    LAUNCHING = "Launching"
    LAUNCHED = "Launched"
    LAUNCH_FAILED = "LaunchFailed"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    STARTING = "Starting"
    BOOTSTRAPPING = "Bootstrapping"
    BOOTSTRAPPED = "Bootstrapped"
    BOOTSTRAP_FAILED = "BootstrapFailed"
    HOST_KEY_PINNED = "HostKeyPinned"
    HOST_KEY_MISMATCH = "HostKeyMismatch"
    REGISTERING = "Registering"
    REGISTERED = "Registered"
    INITIALIZED = "Initialized"
    READY = "Ready"
    CORDONED = "Cordoned"
    UNCORDONED = "Uncordoned"
    DRAINING = "Draining"
    DRAINED = "Drained"
    DRAIN_TIMED_OUT = "DrainTimedOut"
    TERMINATING = "Terminating"
    DELETION_OVERDUE = "DeletionOverdue"
    GONE = "Gone"
    HEARTBEATING = "Heartbeating"
    AGENT_LOST = "AgentLost"
    AGENT_AWAITED = "AgentAwaited"
    HEALTH_CHECK_PENDING = "HealthCheckPending"
    HEALTH_CHECK_FAILED = "HealthCheckFailed"
    UNHEALTHY = "Unhealthy"
    INSTANCE_LOST = "InstanceLost"
    INSTANCE_FAILED = "InstanceFailed"
    INSTANCE_DRIFTED = "InstanceDrifted"
    INTERRUPTED = "Interrupted"
    HOST_SHUNNED = "HostShunned"
    KEPT_ON_FAILURE = "KeptOnFailure"
    TIMED_OUT = "TimedOut"
    REPLACE_REQUESTED = "ReplaceRequested"
    RESTART_REQUESTED = "RestartRequested"
    SPOT_AVAILABLE = "SpotAvailable"
    ADOPTED = "Adopted"
    ORPHAN_DELETED = "OrphanDeleted"
    # tasks
    QUEUE_HELD = "QueueHeld"
    NO_MATCHING_NODE = "NoMatchingNode"
    NO_SPARE_NODE = "NoSpareNode"


class Condition(Word):
    type: str
    status: Status
    reason: Reason
    message: str = ""
    """One sentence a user can act on."""
    last_transition_time: Time
    """When the status last changed; a new reason or message leaves it."""
    observed_generation: int = 0


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    for condition in conditions:
        if condition.type == type_:
            return condition
    return None


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    found = find(conditions, type_)
    return found is not None and found.status is Status.TRUE


def set_condition(
    conditions: tuple[Condition, ...],
    type_: str,
    status: Status,
    reason: Reason,
    message: str = "",
    *,
    now: datetime,
    observed_generation: int = 0,
) -> tuple[Condition, ...]:
    """These conditions with one of them as given, order kept; the transition time moves only with the status, and never back
    though a clock may be set back."""
    old = find(conditions, type_)
    since = now
    if old is not None:
        said = (old.status, old.reason, old.message, old.observed_generation)
        if said == (status, reason, message, observed_generation):
            return conditions
        since = old.last_transition_time if old.status is status else max(now, old.last_transition_time)
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=observed_generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if condition.type == type_ else condition for condition in conditions)


def drop_condition(conditions: tuple[Condition, ...], type_: str) -> tuple[Condition, ...]:
    """These conditions without one: for `Stalled`, `Paused` and `Deleting`, which exist only while true."""
    if find(conditions, type_) is None:
        return conditions
    return tuple(condition for condition in conditions if condition.type != type_)
