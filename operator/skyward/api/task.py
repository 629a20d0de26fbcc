"""Task: one submitted call: run (one item), map (an item for each input) or broadcast (an item for each rank)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from skyward.api.base import Time, Word
from skyward.api.conditions import Condition
from skyward.api.meta import Object
from skyward.api.quantities import Duration


class TaskPhase(StrEnum):
    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class TaskCondition(StrEnum):
    SCHEDULABLE = "Schedulable"
    """Present only while False: what waits cannot be given out, whatever becomes free."""


class TaskSpec(Word):
    pool: str
    mode: Literal["run", "map", "broadcast"] = "run"
    function: str = ""
    """Digest of the function's bytes."""
    name: str = ""
    """The function's qualified name, for people."""
    delivery: Literal["at-least-once", "at-most-once"] = "at-least-once"
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often one item may be tried in all: lost nodes and child processes count, and so do retried exceptions."""
    retry_on: tuple[str, ...] = ()
    """Exception classes by qualified name (their subclasses count), or `TimedOut`."""
    max_retries: Annotated[int, Field(ge=0, le=99)] = 0
    """No exception is tried again once more attempts than that have counted."""
    retry_causes: tuple[str, ...] = ("NodeLost", "ChildDied", "OutOfMemory")
    """Infrastructure outcomes after which an item is tried again."""
    timeout: Duration | None = None
    """The longest one attempt may run."""
    deadline: Time | None = None
    """What is not done by then ends TimedOut."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    fairness_key: str = ""
    """Tasks of one priority take turns by this key; the submitter's name when it was not given."""
    selector: dict[str, str] = Field(default_factory=dict)
    """Labels and fields of the nodes it may run on."""
    on_node_loss: Literal["retry", "fail", "replaceRank"] | None = None
    """Broadcast: what becomes of a lost node's rank."""
    env: dict[str, str] = Field(default_factory=dict)
    ttl_after_finished: Duration = "1h"


class ItemCounts(Word):
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0


class TaskFailure(Word):
    """How one attempt ended when it did not succeed."""

    item: int
    attempt: int
    node: str
    outcome: str
    message: str
    at: Time
    seconds: float = 0.0


class TaskAttempt(TaskFailure):
    """The same with what it left behind."""

    type: str = ""
    """Class of the exception, or the outcome."""
    traceback: str = ""
    evidence: dict[str, str] = Field(default_factory=dict)


class TaskItem(Word):
    """One item, and those of its attempts that did not succeed."""

    index: int
    phase: TaskPhase
    outcome: str = ""
    node: str = ""
    attempt: int = 0
    """The newest, from 1; 0 before the first."""
    seconds: float = 0.0
    """What the attempt ran that ended it."""
    finished_at: Time | None = None
    message: str = ""
    attempts: tuple[TaskAttempt, ...] = ()


class Provenance(Word):
    """What a task's results were made with."""

    function: str
    """Digest of the function's bytes."""
    pool_generation: int
    """Of the pool's spec when the task was accepted."""
    template_hash: str
    submitter: str


class TaskStatus(Word):
    phase: TaskPhase = TaskPhase.QUEUED
    items: ItemCounts = ItemCounts()
    failures: tuple[TaskFailure, ...] = ()
    """The last 20."""
    started_at: Time | None = None
    finished_at: Time | None = None
    nodes: tuple[str, ...] = ()
    """Nodes that run it now."""
    seconds: float = 0.0
    """What its ended attempts ran, in all."""
    cost: str = "0"
    """US dollars, decimal: of its attempts' nodes, each lane its part, while they ran."""
    provenance: Provenance | None = None
    conditions: tuple[Condition, ...] = ()


class Task(Object):
    KIND: ClassVar[str] = "Task"
    PLURAL: ClassVar[str] = "tasks"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("task",)

    kind: Literal["Task"] = "Task"
    spec: TaskSpec
    status: TaskStatus = TaskStatus()
