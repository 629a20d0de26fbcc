"""The store: objects with versions, launches, credentials and tasks, behind one writer.

All work happens in short synchronous transactions. `await store.run(work)` hands a function to the writer, which runs
it together with others and commits once for all of them (group commit); no network, no await inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from skyward.api import Object
from skyward.facts import Launch

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

    @property
    def tasks(self) -> TaskRows: ...


class Store(Protocol):
    @property
    def installation(self) -> str:
        """Uid of this installation: made with the store, the owner mark of its instances."""
        ...

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False) -> T:
        """Run in a read-write transaction and return after the commit. An exception rolls back this work alone and comes out
        here. `power_safe` commits survive power loss, others the death of every process. Subscribers have seen the
        changes before this returns. Cancelling the caller does not cancel the work."""
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


# --- tasks: the rows behind the queue ------------------------------------------------------------------------------


class TaskRows(Protocol):
    """Rows of tasks, items and functions. The queue is their only user; all methods are set-based."""
