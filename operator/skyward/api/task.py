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


class TaskSpec(Word):
    pool: str
    mode: Literal["run", "map", "broadcast"] = "run"
    function: str = ""
    """Digest of the function's bytes."""
    name: str = ""
    """The function's qualified name, for people."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often one item may be tried when its node or child process is lost."""
    timeout: Duration | None = None
    """The longest one attempt may run."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
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


class TaskStatus(Word):
    phase: TaskPhase = TaskPhase.QUEUED
    items: ItemCounts = ItemCounts()
    failures: tuple[TaskFailure, ...] = ()
    """The last 20."""
    started_at: Time | None = None
    finished_at: Time | None = None
    nodes: tuple[str, ...] = ()
    """Nodes that run it now."""
    conditions: tuple[Condition, ...] = ()


class Task(Object):
    KIND: ClassVar[str] = "Task"
    PLURAL: ClassVar[str] = "tasks"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("task",)

    kind: Literal["Task"] = "Task"
    spec: TaskSpec
    status: TaskStatus = TaskStatus()
