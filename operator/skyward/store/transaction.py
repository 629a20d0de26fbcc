"""One view of the store inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from skyward.api import Object
from skyward.contracts import Change, Credential, Ids, Lease, TaskRows
from skyward.facts import Decision, DecisionRecord, Launch, Revision
from skyward.store import credential_rows, decision_rows, launches, lease_rows, revision_rows
from skyward.store.database import Database
from skyward.store.objects import Objects, Retention
from skyward.store.task_rows import SqlTaskRows
from skyward.store.versions import Versions

O = TypeVar("O", bound=Object)  # noqa: E741


class SqlTransaction:
    """Implements `contracts.Transaction`. Not to be kept or used after its transaction."""

    def __init__(
        self, database: Database, versions: Versions, ids: Ids, now: Callable[[], float], *, writable: bool
    ) -> None:
        self._raw = database.raw
        self._objects = Objects(database, versions, ids, now)
        self._tasks = SqlTaskRows(database.raw, self._check_writable)
        self._writable = writable

    @property
    def changes(self) -> list[Change]:
        """What this transaction wrote so far."""
        return self._objects.changes

    def get(self, kind: type[O], key: str) -> O | None:
        return self._objects.get(kind, key)

    def list(self, kind: type[O], namespace: str | None = None) -> tuple[O, ...]:
        return self._objects.list(kind, namespace)

    def put(self, obj: O, *, expect: str | None = None) -> O:
        self._check_writable()
        return self._objects.put(obj, expect)

    def delete(self, obj: Object) -> None:
        self._check_writable()
        self._objects.delete(obj)

    def version(self) -> int:
        return self._objects.version()

    def changes_since(self, since: int, limit: int) -> Sequence[Change]:
        return self._objects.changes_since(since, limit)

    def prune(self, retention: Retention) -> None:
        self._check_writable()
        self._objects.prune(retention)

    def launch(self, launch_id: str) -> Launch | None:
        return launches.get(self._raw, launch_id)

    def launches(self) -> tuple[Launch, ...]:
        return launches.get_all(self._raw)

    def put_launch(self, launch: Launch) -> None:
        self._check_writable()
        launches.put(self._raw, launch)

    def drop_launch(self, launch_id: str) -> None:
        self._check_writable()
        launches.drop(self._raw, launch_id)

    def credential(self, hash_: str) -> Credential | None:
        return credential_rows.get(self._raw, hash_)

    def put_credential(self, credential: Credential) -> None:
        self._check_writable()
        credential_rows.put(self._raw, credential)

    def drop_credentials(self, subject: str) -> None:
        self._check_writable()
        credential_rows.drop(self._raw, subject)

    def decisions(self, uid: str) -> tuple[DecisionRecord, ...]:
        return decision_rows.of_object(self._raw, uid)

    def decisions_of(self, kind: str, key: str) -> tuple[DecisionRecord, ...]:
        return decision_rows.of_name(self._raw, kind, key)

    def last_decision(self, uid: str, decision: Decision) -> DecisionRecord | None:
        return decision_rows.last(self._raw, uid, decision)

    def standing_decisions(self) -> tuple[DecisionRecord, ...]:
        return decision_rows.standing(self._raw)

    def put_decision(self, record: DecisionRecord) -> None:
        self._check_writable()
        decision_rows.put(self._raw, record)

    def drop_decisions(self, before: float, keep: int) -> int:
        self._check_writable()
        return decision_rows.drop(self._raw, before, keep)

    def revisions(self, pool_uid: str) -> tuple[Revision, ...]:
        return revision_rows.of_pool(self._raw, pool_uid)

    def put_revision(self, revision: Revision) -> None:
        self._check_writable()
        revision_rows.put(self._raw, revision)

    def drop_revisions(self, pool_uid: str, before: int) -> None:
        self._check_writable()
        revision_rows.drop(self._raw, pool_uid, before)

    def lease(self, name: str) -> Lease | None:
        return lease_rows.get(self._raw, name)

    def put_lease(self, lease: Lease) -> None:
        self._check_writable()
        lease_rows.put(self._raw, lease)

    @property
    def tasks(self) -> TaskRows:
        return self._tasks

    def _check_writable(self) -> None:
        if not self._writable:
            raise RuntimeError("this work only reads: hand it to run() to write")
