"""The one task queue: durable, fenced, at-least-once with at most one committed result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from skyward.api import Task, TaskItem
from skyward_agent.wire.messages import AttemptId, Lease, Policy, Report, Result

ORDINARY = Policy()
"""What is promised of a task that asks for nothing else."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One node that a broadcast may count on."""

    node_uid: str
    node: str
    address: str


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What the queue must know of a pool; given by whoever owns the objects."""

    key: str
    uid: str
    nodes: int
    """How many are wanted."""
    python: str
    deleting: bool
    ready: Sequence[Rank]
    """Ready nodes that take work, by slot. Of use to a broadcast alone, so it may be worked out when it is looked at."""
    generation: int = 0
    template_hash: str = ""
    fixed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Labels that each of its nodes has, with all the values that they can have."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the queue must know of a node when it gives it work."""

    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Its labels, and its fields under the names by which a selector asks for them."""
    usd_per_lane_second: float = 0.0


class NodeDirectory(Protocol):
    """Asked with every lease: answers from memory, at once."""

    def is_held(self, pool: str) -> bool:
        """The user wants nothing given out in this pool."""
        ...

    def node(self, node_uid: str) -> NodeFacts: ...

    def nodes(self, pool: str) -> Sequence[NodeFacts]:
        """Those of this pool that are not leaving."""
        ...


PoolDirectory = Callable[[str], PoolFacts | None]
"""From `namespace/name` to what is known now; None when there is no such pool."""


@dataclass(frozen=True, slots=True)
class Submission:
    key: str
    submitter: str
    pool: str
    """`namespace/name`."""
    mode: str
    function: str
    name: str
    items: tuple[bytes, ...]
    python: str
    """The caller's minor version."""
    open: bool = False
    max_attempts: int = 3
    timeout_s: float | None = None
    priority: int = 0
    env: dict[str, str] = field(default_factory=dict)
    stream: bool = True
    policy: Policy = ORDINARY


@dataclass(frozen=True, slots=True)
class Accepted:
    task: str
    """The task's uid."""
    name: str
    items: int
    open: bool
    stream: bool
    mode: str = "run"


@dataclass(frozen=True, slots=True)
class Holder:
    """One incarnation of one node's agent."""

    node_uid: str
    node: str
    """Node name."""
    pool: str
    incarnation: str


class QueueListener(Protocol):
    """Called on the event loop, after the commit. Must not block."""

    def work_available(self, pool: str, node_uid: str | None) -> None:
        """Items can be leased in this pool; by this node alone when one is named (broadcast)."""
        ...

    def items_finished(self, results: Sequence[Result]) -> None: ...

    def abandon(self, node_uid: str, attempts: Sequence[AttemptId], reason: str) -> None:
        """These attempts of this node are no longer wanted (cancelled)."""
        ...

    def task_closed(self, task: str, items: int) -> None:
        """This open map takes no more items than these: it was cancelled, its deadline passed or its pool went."""
        ...


class TaskQueue(Protocol):
    def listen(self, listener: QueueListener) -> None: ...

    async def recover(self) -> None:
        """Rebuild what is kept in memory from the rows. Once, before anything else."""
        ...

    async def put_function(self, digest: str, data: bytes) -> None:
        """Raises Invalid when the digest is not that of the data. Idempotent."""
        ...

    async def function(self, digest: str) -> bytes | None: ...

    async def submit(self, submission: Submission) -> Accepted:
        """Durable when it returns; idempotent by (submitter, key). Raises PoolNotFound, PoolAtZero, PoolNotReady (broadcast),
        PythonMismatch, Conflict (same key, other payload), Invalid (unknown function, no items, bad mode). Concurrent
        submits share commits."""
        ...

    async def extend(self, task: str, start: int, items: Sequence[bytes], *, last: bool) -> int:
        """Add items to an open map; a repeat of items already there is a no-op. Returns how many the task has now. Raises
        NotFound, Conflict (a gap, or the map is closed)."""
        ...

    async def lease(self, holder: Holder, capacity: int) -> tuple[Lease, ...]:
        """Up to `capacity` attempts for this agent, durable when it returns; empty when there is nothing for it, and for a node
        that was released as lost until its agent calls `resume`."""
        ...

    async def started(self, holder: Holder, attempts: Sequence[AttemptId]) -> None: ...

    async def report(self, holder: Holder, reports: Sequence[Report]) -> tuple[AttemptId, ...]:
        """Commit outcomes, at most one per item. Returns every attempt that the agent may forget: committed, or superseded."""
        ...

    async def give_back(self, holder: Holder, attempts: Sequence[AttemptId]) -> None:
        """This agent never began these and never will: they wait again, and the attempt does not count. From this commit on a
        report of them is superseded. Attempts that are not this agent's are passed over."""
        ...

    async def resume(self, holder: Holder, running: Sequence[AttemptId]) -> tuple[AttemptId, ...]:
        """An agent came (back) with these attempts in hand. Leases of this node that it does not hold are lost and tried again
        (at once if they never started, counted if they did). Returns attempts that are no longer its own."""
        ...

    async def release(self, node_uid: str, outcome: str, message: str, *, gone: bool = False) -> None:
        """This node or its agent is proved lost: end every attempt it holds with this infrastructure outcome; items with
        attempts left are queued again. A broadcast's items of a lost rank fail, wait for the node (unless it is `gone`, and
        can never come back), or wait for another node, as the broadcast asks. Idempotent."""
        ...

    async def cancel(self, task: str, *, waiting_only: bool = False) -> None:
        """Queued items end Cancelled at once; running ones are abandoned and end Cancelled whatever their agent still reports.
        With `waiting_only` a task of which a node holds anything is left alone. Raises NotFound. Idempotent."""
        ...

    async def delivered(self, tasks: Sequence[str]) -> None:
        """A client has all their results: those that are kept only until then are removed. Unknown ones are passed over."""
        ...

    def look_again(self, pool: str) -> None:
        """Its queue may have been opened, or its nodes may have got other labels: what waits may be given out now."""
        ...

    async def accepted(self, task: str) -> Accepted:
        """Raises NotFound."""
        ...

    async def items(self, namespace: str, name: str, start: int, limit: int) -> tuple[TaskItem, ...] | None:
        """A page of its items by index, each with its attempts; None when there is no such task."""
        ...

    async def results(self, task: str, skip: Sequence[int] = (), limit: int = 500) -> tuple[Result, ...]:
        """Terminal outcomes of this task's items by index, without those in `skip`."""
        ...

    async def tasks(self, namespace: str | None = None) -> tuple[Task, ...]:
        """As API objects, newest last."""
        ...

    async def task(self, namespace: str, name: str) -> Task | None: ...

    def counts(self, pool: str) -> tuple[int, int]:
        """(queued, running) items of this pool, from memory."""
        ...

    def held(self, node_uid: str) -> int:
        """Attempts that this node holds, from memory."""
        ...

    def holders(self) -> frozenset[str]:
        """Uids of the nodes that hold attempts or that a broadcast's items wait for, from memory. One that no longer exists is
        to be released."""
        ...

    def pools(self) -> frozenset[str]:
        """Keys of the pools that have unfinished tasks, from memory."""
        ...

    async def named_blobs(self, digests: Collection[str]) -> frozenset[str]:
        """Those of these blobs that a task's arguments or results name: they are kept."""
        ...

    async def names_blob(self, tasks: Collection[str], digest: str) -> bool:
        """Whether one of these tasks, by uid, names the blob."""
        ...

    async def drop_pool(self, pool: str) -> None:
        """The pool is gone: end its unfinished items as Cancelled."""
        ...

    async def collect(self, now: float) -> int:
        """Remove tasks whose time after finishing is over, and functions no task names. Returns how many tasks."""
        ...
