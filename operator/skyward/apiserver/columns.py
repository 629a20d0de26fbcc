"""What `get` prints of each kind: kubectl and skyctl both show the server's tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skyward.api import (
    Condition,
    Event,
    Node,
    NodeCondition,
    Pool,
    PoolCondition,
    Reason,
    Source,
    Status,
    Task,
    TaskPhase,
    find,
    is_true,
)
from skyward.apiserver.ages import age

NONE = "-"


@dataclass(frozen=True, slots=True)
class View:
    """What a cell may need besides its object."""

    now: float
    held: Callable[[str], int]
    """Attempts that a node (by uid) holds."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    cell: Callable[[Any, View], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    is_wide: bool = False


def _name(obj: Any, _: View) -> str:
    return str(obj.metadata.name)


def _age(obj: Any, view: View) -> str:
    return age(obj.metadata.creation_timestamp, view.now)


NAME = Column("Name", _name, format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", _age, description="Time since the object was created.")


def pool_status(pool: Pool) -> str:
    """One word for the sum, and what is wrong with the manifest if something is."""
    conditions = pool.status.conditions
    accepted = find(conditions, PoolCondition.ACCEPTED)
    word = _pool_word(pool, conditions)
    if accepted is not None and accepted.status is Status.FALSE:
        return f"{word},{accepted.reason}"
    return word


def _pool_word(pool: Pool, conditions: tuple[Condition, ...]) -> str:
    if pool.metadata.deletion_timestamp is not None:
        return "Deleting"
    for type_ in (PoolCondition.STALLED, PoolCondition.PAUSED, PoolCondition.ROLLING_OUT, PoolCondition.REMEDIATING):
        if is_true(conditions, type_):
            return str(type_)
    for type_ in (PoolCondition.SCALING_UP, PoolCondition.SCALING_DOWN, PoolCondition.READY):
        if is_true(conditions, type_):
            return str(type_)
    ready = find(conditions, PoolCondition.READY)
    return "Pending" if ready is None or ready.status is Status.UNKNOWN else str(ready.reason)


def node_status(node: Node) -> str:
    conditions = node.status.conditions
    cordoned = ",Cordoned" if node.spec.unschedulable and node.metadata.deletion_timestamp is None else ""
    return _node_word(node, conditions) + cordoned


def _node_word(node: Node, conditions: tuple[Condition, ...]) -> str:
    if node.metadata.deletion_timestamp is not None:
        leaving = find(conditions, NodeCondition.TERMINATING)
        if leaving is not None and leaving.reason is Reason.GONE:
            return "Failed" if node.status.failure else "Gone"
        return "Terminating" if leaving is not None and leaving.status is Status.TRUE else "Draining"
    if node.status.failure:
        return "Failed"
    if is_true(conditions, NodeCondition.READY):
        return "Ready"
    reached = "Pending"
    for type_ in (
        NodeCondition.LAUNCHED,
        NodeCondition.BOOTSTRAPPED,
        NodeCondition.REGISTERED,
        NodeCondition.INITIALIZED,
    ):
        if not is_true(conditions, type_):
            return reached
        reached = str(type_)
    ready = find(conditions, NodeCondition.READY)
    return "NotReady" if ready is not None and ready.status is Status.FALSE else reached


def _source_status(source: Source, _: View) -> str:
    ready = find(source.status.conditions, "Ready")
    if ready is None:
        return "Unknown"
    return "Ready" if ready.status is Status.TRUE else str(ready.reason)


def _accelerators(pool: Pool) -> str:
    spec = pool.spec
    wanted = (
        [entry.accelerator or spec.accelerator for entry in spec.offerings.entries]
        if spec.offerings
        else [spec.accelerator]
    )
    return ",".join(dict.fromkeys(filter(None, wanted))) or NONE


def _task_nodes(task: Task) -> str:
    nodes = task.status.nodes
    return NONE if not nodes else nodes[0] if len(nodes) == 1 else f"{nodes[0]} +{len(nodes) - 1}"


def _task_done(task: Task) -> str:
    items = task.status.items
    done = items.succeeded + items.failed
    return f"{done}/{done + items.queued + items.running}"


def _last_seen(event: Event, view: View) -> str:
    return age(event.last_time, view.now)


POOLS = (
    NAME,
    Column("Nodes", lambda pool, _: pool.spec.nodes, "integer"),
    Column("Ready", lambda pool, _: pool.status.ready, "integer"),
    Column("Provider", lambda pool, _: ",".join(dict.fromkeys(place.name for place in pool.spec.places))),
    Column("Accelerator", lambda pool, _: _accelerators(pool), description="What each node is asked to have."),
    Column("$/H", lambda pool, _: pool.status.hourly_cost),
    Column("Status", lambda pool, _: pool_status(pool)),
    AGE,
    Column("Region", lambda pool, _: NONE, is_wide=True),
    Column("Up-To-Date", lambda pool, _: pool.status.up_to_date, "integer", is_wide=True),
    Column("Queued", lambda pool, _: pool.status.queued, "integer", is_wide=True),
    Column("Running", lambda pool, _: pool.status.running, "integer", is_wide=True),
    Column("Cost", lambda pool, _: NONE, is_wide=True),
    Column("Revision", lambda pool, _: pool.status.revision[:12] or NONE, is_wide=True),
)
NODES = (
    NAME,
    Column("Pool", lambda node, _: node.spec.pool),
    Column("Status", lambda node, _: node_status(node)),
    Column("Provider", lambda node, _: node.status.provider or NONE),
    Column("Type", lambda node, _: node.status.offering or NONE),
    Column("Region", lambda node, _: node.status.region or NONE),
    Column("$/H", lambda node, _: node.status.hourly_cost),
    Column("Tasks", lambda node, view: view.held(node.metadata.uid), "integer"),
    AGE,
    Column("Slot", lambda node, _: node.spec.slot, "integer", is_wide=True),
    Column("Address", lambda node, _: node.status.address or NONE, is_wide=True),
    Column("Instance", lambda node, _: node.status.provider_id or NONE, is_wide=True),
    Column("Restarts", lambda node, _: node.status.restarts, "integer", is_wide=True),
)
TASKS = (
    NAME,
    Column("Pool", lambda task, _: task.spec.pool),
    Column("Mode", lambda task, _: task.spec.mode),
    Column("Status", lambda task, _: str(TaskPhase(task.status.phase))),
    Column("Done/All", lambda task, _: _task_done(task)),
    Column("Node", lambda task, _: _task_nodes(task)),
    AGE,
    Column("Failed", lambda task, _: task.status.items.failed, "integer", is_wide=True),
    Column("Function", lambda task, _: task.spec.name or NONE, is_wide=True),
)
SOURCES = (
    NAME,
    Column("Status", _source_status),
    Column("Pools", lambda source, _: source.status.pools, "integer"),
    Column("Rejected", lambda source, _: len(source.status.rejected), "integer"),
    AGE,
    Column("Revision", lambda source, _: source.status.revision[:12] or NONE, is_wide=True),
    Column("Path", lambda source, _: source.spec.path, is_wide=True),
)
EVENTS = (
    Column("Last Seen", _last_seen),
    Column("Type", lambda event, _: event.type),
    Column("Reason", lambda event, _: str(event.reason)),
    Column("Object", lambda event, _: f"{event.regarding.kind.lower()}/{event.regarding.name}"),
    Column("Count", lambda event, _: event.count, "integer"),
    Column("Message", lambda event, _: event.note),
    Column("First Seen", lambda event, view: age(event.first_time, view.now), is_wide=True),
    Column("Name", _name, format="name", is_wide=True),
)
NAMESPACES = (NAME, Column("Status", lambda namespace, _: "Active"))
