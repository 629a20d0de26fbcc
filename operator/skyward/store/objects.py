"""Objects and their change log: every write gives a new version and leaves one change behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from skyward.api import KINDS, Event, Object, to_time
from skyward.contracts import Change, Ids, Verb
from skyward.errors import Conflict, HistoryExpired
from skyward.store.database import Database
from skyward.store.versions import Versions

O = TypeVar("O", bound=Object)  # noqa: E741

KEPT_CHANGES = 20_000
KEPT_EVENTS = 5_000
EVENT_TTL_S = 86_400.0
_EVENTS_AT_ONCE = 2_000
"""Events removed in one pass: a flood is worn off in slices that delay no other work."""

_EVENTS_AT_ONCE = 2_000
"""Events removed in one pass: a flood is worn off in slices that delay no other work."""
_KINDS = {kind.KIND: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history is kept. Pruning runs with the writes, so a quiet store stays quiet."""

    changes: int = 20_000
    events: int = 5_000
    event_ttl_s: float = 86_400.0
    every: int = 1_000
    """Versions between two prunings."""


class Objects:
    """The objects inside one transaction. `changes` collects what it wrote."""

    def __init__(self, database: Database, versions: Versions, ids: Ids, now: Callable[[], float]) -> None:
        self._raw = database.raw
        self._parsed = database.parsed
        self._versions = versions
        self._ids = ids
        self._now = now
        self.changes: list[Change] = []

    def get(self, kind: type[O], key: str) -> O | None:
        namespace, _, name = key.partition("/")
        row = self._row(kind.KIND, namespace, name)
        return None if row is None else self._parsed.read(kind, key, row[2])

    def list(self, kind: type[O], namespace: str | None) -> tuple[O, ...]:
        rows = self._raw.execute(
            "SELECT namespace || '/' || name, body FROM objects WHERE kind = ? AND (? IS NULL OR namespace = ?) "
            "ORDER BY namespace, name",
            (kind.KIND, namespace, namespace),
        )
        return tuple(self._parsed.read(kind, key, body) for key, body in rows)

    def put(self, obj: O, expect: str | None) -> O:
        meta = obj.metadata
        row = self._row(obj.kind, meta.namespace, meta.name)
        stored = "" if row is None else str(row[1])
        if expect is not None and expect != stored:
            raise Conflict(
                f"{obj.kind} {obj.key} is at resource version {stored or 'none'}, not {expect or 'none'}: "
                "read it again and retry"
            )
        if row is None:
            return self._insert(obj)
        return self._update(obj, row)

    def _insert(self, obj: O) -> O:
        meta = obj.metadata
        now = self._now()
        version = self._versions.next()
        obj = obj.replace(
            metadata=meta.replace(
                uid=meta.uid or self._ids.uid(),
                creation_timestamp=meta.creation_timestamp or to_time(now),
                resource_version=str(version),
            )
        )
        body = _dump(obj)
        self._raw.execute(
            "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
            (obj.kind, meta.namespace, meta.name, obj.metadata.uid, version, now, body),
        )
        self._log(version, Verb.ADDED, obj, body)
        return obj

    def _update(self, obj: O, row: tuple[str, int, str]) -> O:
        uid, stored_version, stored_body = row
        old = self._parsed.read(type(obj), obj.key, stored_body)
        meta = obj.metadata.replace(
            uid=obj.metadata.uid or uid,
            creation_timestamp=obj.metadata.creation_timestamp or old.metadata.creation_timestamp,
            resource_version=str(stored_version),
        )
        obj = obj.replace(metadata=meta)
        if obj == old or _dump(obj) == stored_body:
            return old
        version = self._versions.next()
        obj = obj.replace(metadata=meta.replace(resource_version=str(version)))
        body = _dump(obj)
        self._raw.execute(
            "UPDATE objects SET uid = ?, resource_version = ?, updated_at = ?, body = ? "
            "WHERE kind = ? AND namespace = ? AND name = ?",
            (meta.uid, version, self._now(), body, obj.kind, meta.namespace, meta.name),
        )
        self._log(version, Verb.MODIFIED, obj, body)
        return obj

    def delete(self, obj: Object) -> None:
        meta = obj.metadata
        row = self._row(obj.kind, meta.namespace, meta.name)
        if row is None or (meta.uid and meta.uid != row[0]):
            return  # gone, or another object took the name since
        self._remove(self._parsed.read(type(obj), obj.key, row[2]))

    def version(self) -> int:
        (newest,) = self._raw.execute("SELECT max(resource_version) FROM changes").fetchone()
        return max(newest or 0, self._pruned())

    def changes_since(self, since: int, limit: int) -> Sequence[Change]:
        """Raises HistoryExpired when the log no longer reaches back that far, or never reached that version."""
        if since < self._pruned() or since > self.version():
            raise HistoryExpired(f"the change log does not reach resource version {since}: list again")
        rows = self._raw.execute(
            "SELECT resource_version, verb, kind, body FROM changes WHERE resource_version > ? "
            "ORDER BY resource_version LIMIT ?",
            (since, limit),
        )
        return [
            Change(version, Verb(verb), _KINDS[kind].model_validate_json(body)) for version, verb, kind, body in rows
        ]

    def prune(self, retention: Retention) -> None:
        """Forget old events (as deletions that watchers see) and old changes."""
        old = self._raw.execute(
            "SELECT body FROM objects WHERE kind = 'Event' AND (updated_at < ? OR resource_version NOT IN "
            "(SELECT resource_version FROM objects WHERE kind = 'Event' ORDER BY resource_version DESC LIMIT ?)) "
            "ORDER BY resource_version LIMIT ?",
            (self._now() - retention.event_ttl_s, retention.events, _EVENTS_AT_ONCE),
        ).fetchall()
        for (body,) in old:
            self._remove(Event.model_validate_json(body))
        low = self.version() - retention.changes
        if low > self._pruned():
            self._raw.execute("DELETE FROM changes WHERE resource_version <= ?", (low,))
            self._raw.execute("INSERT OR REPLACE INTO meta VALUES ('pruned', ?)", (str(low),))

    def _remove(self, obj: Object) -> None:
        meta = obj.metadata
        version = self._versions.next()
        obj = obj.replace(metadata=meta.replace(resource_version=str(version)))
        self._raw.execute(
            "DELETE FROM objects WHERE kind = ? AND namespace = ? AND name = ?", (obj.kind, meta.namespace, meta.name)
        )
        self._log(version, Verb.DELETED, obj, _dump(obj))

    def _log(self, version: int, verb: Verb, obj: Object, body: str) -> None:
        meta = obj.metadata
        if verb is Verb.DELETED:
            self._parsed.forget(obj)
        else:
            self._parsed.keep(obj, body)
        self._raw.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?)", (version, obj.kind, meta.namespace, meta.name, verb, body)
        )
        self.changes.append(Change(version, verb, obj))

    def _row(self, kind: str, namespace: str, name: str) -> tuple[str, int, str] | None:
        row = self._raw.execute(
            "SELECT uid, resource_version, body FROM objects WHERE kind = ? AND namespace = ? AND name = ?",
            (kind, namespace, name),
        ).fetchone()
        return cast("tuple[str, int, str] | None", row)

    def _pruned(self) -> int:
        row = self._raw.execute("SELECT value FROM meta WHERE name = 'pruned'").fetchone()
        return int(row[0]) if row else 0


def _dump(obj: Object) -> str:
    return obj.model_dump_json(by_alias=True, exclude_none=True)
