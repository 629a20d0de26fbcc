"""The words of the API: frozen pydantic models that are the only source of JSON schema, defaults and validation."""

from skyward.api.base import API_VERSION, GROUP, VERSION, Json, Time, Word, to_time
from skyward.api.conditions import (
    Condition,
    NodeCondition,
    PoolCondition,
    Reason,
    SourceCondition,
    Status,
    drop_condition,
    find,
    is_true,
    set_condition,
)
from skyward.api.event import Event, ObjectReference
from skyward.api.health import HealthCheckSpec
from skyward.api.held import Held
from skyward.api.meta import DEFAULT_NAMESPACE, FINALIZER, Object, ObjectMeta, check_name
from skyward.api.node import POOL_LABEL, Node, NodeSpec, NodeStatus, Phase
from skyward.api.offerings import OfferingSpec, OfferingsSpec, ResourcesSpec, SpotSpec, driver_options, places_of
from skyward.api.pool import (
    ImageFile,
    ImageSpec,
    PipSpec,
    Pool,
    PoolSpec,
    PoolStatus,
    SetupStep,
    template_hash,
)
from skyward.api.providers import LocalFaults, LocalOptions, ProviderSpec
from skyward.api.requirements import Requirement
from skyward.api.rollout import DisruptionBudget, DisruptionSpec, RolloutSpec
from skyward.api.source import Problem, Source, SourceSpec, SourceStatus
from skyward.api.task import (
    ItemCounts,
    Provenance,
    Task,
    TaskAttempt,
    TaskCondition,
    TaskFailure,
    TaskItem,
    TaskPhase,
    TaskSpec,
    TaskStatus,
)
from skyward_agent.wire.names import SERVER_NAME

KINDS: tuple[type[Object], ...] = (Pool, Node, Task, Source, Event)

__all__ = [
    "API_VERSION",
    "DEFAULT_NAMESPACE",
    "FINALIZER",
    "GROUP",
    "KINDS",
    "POOL_LABEL",
    "SERVER_NAME",
    "VERSION",
    "Condition",
    "DisruptionBudget",
    "DisruptionSpec",
    "Event",
    "HealthCheckSpec",
    "Held",
    "ImageFile",
    "ImageSpec",
    "ItemCounts",
    "Json",
    "LocalFaults",
    "LocalOptions",
    "Node",
    "NodeCondition",
    "NodeSpec",
    "NodeStatus",
    "Object",
    "ObjectMeta",
    "ObjectReference",
    "OfferingSpec",
    "OfferingsSpec",
    "Phase",
    "PipSpec",
    "Pool",
    "PoolCondition",
    "PoolSpec",
    "PoolStatus",
    "Problem",
    "Provenance",
    "ProviderSpec",
    "Reason",
    "Requirement",
    "ResourcesSpec",
    "RolloutSpec",
    "SetupStep",
    "Source",
    "SourceCondition",
    "SourceSpec",
    "SourceStatus",
    "SpotSpec",
    "Status",
    "Task",
    "TaskAttempt",
    "TaskCondition",
    "TaskFailure",
    "TaskItem",
    "TaskPhase",
    "TaskSpec",
    "TaskStatus",
    "Time",
    "Word",
    "check_name",
    "driver_options",
    "drop_condition",
    "find",
    "is_true",
    "places_of",
    "set_condition",
    "template_hash",
    "to_time",
]
