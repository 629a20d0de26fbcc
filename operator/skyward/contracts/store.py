"""The store: objects with versions, launches, credentials and tasks, behind one writer.

All work happens in short synchronous transactions. `await store.run(work)` hands a function to the writer, which runs
it together with others and commits once for all of them (group commit); no network, no await inside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from skyward.api import Object, TaskFailure, TaskItem
from skyward.contracts.queue import ORDINARY, Rank
from skyward.facts import Decision, DecisionRecord, Launch, Revision
from skyward_agent.wire.messages import CANCELLED, Failure, Policy, Result

T = TypeVar("T")
O = TypeVar("O", bound=Object)  # noqa: E741


class Verb(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write of one object, as the change log keeps it."""

    resource_version: int
    verb: Verb
    object: Object
    """As it is now; for DELETED, as it last was, with the new resource version."""


class CredentialKind(StrEnum):
    USER = "user"
    JOIN = "join"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Credential:
    """A token, known by its hash alone."""

    hash: str
    """sha256 of the token, hex."""
    kind: CredentialKind
    subject: str
    """The user's name, or the node's uid."""
    expires_at: float | None
    used_by: str = ""
    """The incarnation that exchanged a join token; empty while unused."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who leads. An operator may act only while it holds the lease, and every transaction of it names its epoch."""

    name: str
    holder: str
    """Identity of one operator process."""
    epoch: int
    """Raised with every change of the holder."""
    duration_s: float
    renewals: int
    """Raised with every renewal: others judge the lease by how long this stands still on their own clock."""


class Transaction(Protocol):
    """One view of the store inside one transaction. Not to be kept or used afterwards."""

    def get(self, kind: type[O], key: str) -> O | None:
        """The object called `namespace/name`, or None."""
        ...

    def list(self, kind: type[O], namespace: str | None = None) -> tuple[O, ...]:
        """By namespace and name."""
        ...

    def put(self, obj: O, *, expect: str | None = None) -> O:
        """Insert or replace, with a new resource version; a write that changes nothing keeps the old one and makes no change.
        With `expect`, raises Conflict unless that is the stored resource version."""
        ...

    def delete(self, obj: Object) -> None:
        """Idempotent."""
        ...

    def version(self) -> int:
        """The newest resource version given out."""
        ...

    def launch(self, launch_id: str) -> Launch | None: ...

    def launches(self) -> tuple[Launch, ...]:
        """All that are kept, tombstones included."""
        ...

    def put_launch(self, launch: Launch) -> None:
        """Raises ValueError for a transition that LAUNCH_TRANSITIONS does not have."""
        ...

    def drop_launch(self, launch_id: str) -> None:
        """Forget a launch whose instances are proved gone."""
        ...

    def credential(self, hash_: str) -> Credential | None: ...

    def put_credential(self, credential: Credential) -> None: ...

    def drop_credentials(self, subject: str) -> None:
        """Revoke everything that was given to this subject."""
        ...

    def decisions(self, uid: str) -> tuple[DecisionRecord, ...]:
        """Those about one object, oldest first."""
        ...

    def decisions_of(self, kind: str, key: str) -> tuple[DecisionRecord, ...]:
        """Those about every object of this kind that had this name, those that are gone included; oldest first."""
        ...

    def last_decision(self, uid: str, decision: Decision) -> DecisionRecord | None:
        """The newest about one object that is of the same kind, rule and target."""
        ...

    def standing_decisions(self) -> tuple[DecisionRecord, ...]:
        """Of all objects, those that still stand."""
        ...

    def put_decision(self, record: DecisionRecord) -> None:
        """Insert, or replace the newest record of the same object, kind, rule, target and `at`."""
        ...

    def drop_decisions(self, before: float, keep: int) -> int:
        """Forget what ended before this time, and beyond the newest `keep` of each object; how many those were."""
        ...

    def revisions(self, pool_uid: str) -> tuple[Revision, ...]:
        """By number."""
        ...

    def put_revision(self, revision: Revision) -> None: ...

    def drop_revisions(self, pool_uid: str, before: int) -> None:
        """Forget those with a smaller number."""
        ...

    def lease(self, name: str) -> Lease | None: ...

    def put_lease(self, lease: Lease) -> None: ...

    @property
    def tasks(self) -> TaskRows: ...


class Store(Protocol):
    @property
    def installation(self) -> str:
        """Uid of this installation: made with the store, the owner mark of its instances."""
        ...

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False, quick: bool = False) -> T:
        """Run in a read-write transaction and return after the commit. An exception rolls back this work alone and comes out
        here. `power_safe` commits survive power loss, others the death of every process. Subscribers have seen the
        changes before this returns. Cancelling the caller does not cancel the work. `quick` promises that the work takes
        less time than handing it to a thread and back: it may run where it is called."""
        ...

    @property
    def is_idle(self) -> bool:
        """Nothing is being written: a quick work that is not power-safe is committed before `run` has waited for anything."""
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run against the newest committed state; writing raises."""
        ...

    async def changes(self, since: int, limit: int = 1000) -> Sequence[Change]:
        """What was committed after this resource version, oldest first. Raises HistoryExpired when the log no longer reaches
        back that far."""
        ...

    def subscribe(self, callback: Callable[[Sequence[Change]], None]) -> Callable[[], None]:
        """Call back on the event loop after each commit that changed objects, in order. Returns how to stop it."""
        ...

    async def close(self) -> None: ...


class FencedStore(Store, Protocol):
    """A store whose writes belong to one leadership."""

    async def lead(self, take: Callable[[Transaction], Lease | None], lost: Callable[[], None]) -> Lease | None:
        """Run `take`, which stores and returns a lease, or None. From its commit on, every transaction that writes first
        finds this holder and epoch still stored; else it fails with LeadershipLost, as do all later ones, and `lost` is
        called on the event loop."""
        ...


# --- tasks: the rows behind the queue ------------------------------------------------------------------------------

KEPT_FAILURES = 20
"""How many of a task's failures are kept: the last ones."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task, without its items."""

    uid: str
    namespace: str
    name: str
    submitter: str
    key: str
    """Unique together with the submitter."""
    fingerprint: str
    """Of what was submitted: the same key with another fingerprint is a conflict."""
    pool: str
    mode: str
    function: str
    function_name: str
    max_attempts: int
    timeout_s: float | None
    priority: int
    env: dict[str, str]
    stream: bool
    ranks: tuple[Rank, ...]
    """The frozen ranks of a broadcast, by item; empty otherwise."""
    items: int
    open: bool
    created_at: float
    seq: int = 0
    """Given by the store: orders tasks by age and names them within it."""
    started_at: float | None = None
    finished_at: float | None = None
    succeeded: int = 0
    failed: int = 0
    """Items that ended in any other way."""
    cancelled: bool = False
    failures: tuple[TaskFailure, ...] = ()
    """The last ones."""
    policy: Policy = ORDINARY
    pool_generation: int = 0
    """Of the pool's spec when the task was accepted, and its template then."""
    template_hash: str = ""
    seconds: float = 0.0
    """What its ended attempts ran, in all."""
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One unfinished item."""

    seq: int
    item: int
    attempt: int
    """Number of its newest attempt; 0 before the first."""
    counted: int
    """Ended attempts that count against `max_attempts`."""
    leased: bool
    secret: str = ""
    node_uid: str = ""
    node: str = ""
    started: bool = False
    ready_at: float | None = None
    """Of one that waits: not before."""
    leased_at: float = 0.0
    """Of its newest attempt; 0 before the first."""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A queued item that becomes attempt `attempt` of this node."""

    seq: int
    item: int
    attempt: int
    secret: str
    node_uid: str
    node: str
    started: bool = False
    """The lease is the start marker already: what follows may be user code."""


@dataclass(frozen=True, slots=True)
class EndRow:
    """How one attempt ended: with an outcome for good, or (outcome empty) queued again."""

    seq: int
    item: int
    attempt: int
    secret: str
    counted: int
    """The item's counted attempts from now on."""
    at: float
    outcome: str = ""
    queued: bool = False
    """The item is expected to be queued, not leased: it ends without an attempt."""
    node: str = ""
    value: bytes = b""
    failure: Failure | None = None
    note: TaskFailure | None = None
    """Added to the task's last failures, and kept with the evidence as one of the item's attempts."""
    evidence: Failure | None = None
    """Of the note: how the attempt ended, also when the item waits again."""
    seconds: float = 0.0
    """What the attempt ran, and what its part of the node cost meanwhile."""
    cost_usd: float = 0.0
    ready_at: float | None = None
    """Queued again: not to be given out before."""


class TaskRows(Protocol):
    """Rows of tasks, items and functions. The queue is their only user. Writes are compare-and-set in the database: what was
    not in the expected state is left alone and told."""

    def add(self, tasks: Sequence[tuple[TaskRow, Sequence[bytes]]]) -> tuple[TaskRow, ...]:
        """Insert tasks with their arguments, all their items queued. A broadcast's ranks share the one argument."""
        ...

    def extend(self, seq: int, start: int, arguments: Sequence[bytes], *, open: bool, at: float) -> None:
        """Add queued items from index `start` on; closing a task whose items all ended finishes it."""
        ...

    def by_uid(self, uid: str) -> TaskRow | None: ...

    def by_name(self, namespace: str, name: str) -> TaskRow | None: ...

    def by_key(self, submitter: str, key: str) -> TaskRow | None: ...

    def by_keys(self, keys: Sequence[tuple[str, str]]) -> tuple[TaskRow, ...]:
        """Those of these submitters and keys that there are."""
        ...

    def taken_names(self, names: Sequence[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Which of these namespaces and names some task has."""
        ...

    def all(self, namespace: str | None = None) -> tuple[TaskRow, ...]:
        """Oldest first."""
        ...

    def unfinished(self) -> tuple[tuple[TaskRow, ...], tuple[ItemRow, ...]]:
        """Unfinished tasks, and of those the unfinished items; both in order."""
        ...

    def lease(self, rows: Sequence[LeaseRow], at: float) -> tuple[bool, ...]:
        """Queued items become leased; False for each that was not queued. Notes when their tasks first started."""
        ...

    def arguments(self, items: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
        """Argument bytes of each (seq, index)."""
        ...

    def start(self, attempts: Sequence[tuple[int, int, int, str]]) -> None:
        """Mark these (seq, item, attempt, secret) as started, where they are still leased."""
        ...

    def end(self, rows: Sequence[EndRow]) -> tuple[bool, ...]:
        """End attempts that are still leased with this number and secret; False for each that is not. Keeps the counts, last
        failures and finish time of their tasks in step."""
        ...

    def cancel(self, seq: int, at: float, outcome: str = CANCELLED, failure: Failure | None = None) -> tuple[int, ...]:
        """End every unfinished item with this outcome, close the task, and return those items."""
        ...

    def set_ranks(self, seq: int, ranks: Sequence[Rank]) -> None:
        """Another node has taken the place of a lost one."""
        ...

    def items(self, seq: int, start: int, limit: int) -> tuple[TaskItem, ...]:
        """Items by index, with what their attempts left behind."""
        ...

    def results(self, seq: int, skip: frozenset[int], limit: int) -> tuple[Result, ...]:
        """Terminal outcomes by index."""
        ...

    def expired(self, now: float, keep: int, limit: int) -> tuple[int, ...]:
        """Seqs of tasks whose time after finishing is over (an hour for those kept until delivered), or beyond the newest
        `keep` finished ones; oldest first."""
        ...

    def remove(self, seqs: Sequence[int]) -> None: ...

    def named_blobs(self, digests: Collection[str]) -> frozenset[str]:
        """Those of these blobs that a task's arguments or results name."""
        ...

    def names_blob(self, tasks: Collection[str], digest: str) -> bool:
        """Whether one of these tasks, by uid, names the blob."""
        ...

    def put_function(self, digest: str, data: bytes, at: float) -> None:
        """Insert, or note that it is wanted again."""
        ...

    def function(self, digest: str) -> bytes | None: ...

    def known_functions(self, digests: Collection[str]) -> frozenset[str]:
        """Those of these that are stored."""
        ...

    def drop_functions(self, before: float) -> int:
        """Remove functions that no task names and that nobody put since then."""
        ...
