"""From what the files declare to the store, in one transaction: new pools, new generations, refusals, removals.

Level-triggered: it compares what is declared with what is stored and writes the difference, so that the same snapshot
applied again writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from skyward.api import (
    FINALIZER,
    Condition,
    Pool,
    PoolCondition,
    PoolStatus,
    Reason,
    Status,
    find,
    is_true,
    set_condition,
    to_time,
)
from skyward.contracts import Transaction
from skyward.documents import Document, diff_spec
from skyward.intake.declared import Declared, document_of, place, places
from skyward.kit.recorder import record_event

MANIFEST_FINALIZER = "skyward.dev/manifest"
"""Keeps a pool that was deleted through the API until its document is removed too, whatever happens in between."""
_SHOWN_CHANGES = 5
_SHOWN_CHARACTERS = 1000
_AT_FIRST_UNKNOWN = (
    PoolCondition.PROVIDER_READY,
    PoolCondition.CAPACITY_AVAILABLE,
    PoolCondition.NODES_READY,
    PoolCondition.NODES_UP_TO_DATE,
    PoolCondition.AVAILABLE,
    PoolCondition.SCALING_UP,
    PoolCondition.SCALING_DOWN,
    PoolCondition.ROLLING_OUT,
    PoolCondition.REMEDIATING,
    PoolCondition.READY,
)


@dataclass(slots=True)
class Applied:
    """What a snapshot changed, as keys, for the log; and what is left to do."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    """Uids of living pools that no document claims, where absence counts at all."""
    undeclared: list[str] = field(default_factory=list)
    """Pools deleted through the API whose documents are not removed yet."""


@dataclass(frozen=True, slots=True)
class Rules:
    now: float
    new_uid: Callable[[], str]
    counts_absence: bool
    """The directory proved to be ours, and everything in it could be read."""
    proved: frozenset[str]
    """Uids whose absence was seen before, long enough ago."""


def apply(tx: Transaction, declared: Declared, rules: Rules) -> Applied:
    applied = Applied()
    stored = {pool.key: pool for pool in tx.list(Pool)}
    for key, claims in declared.claims.items():
        document = document_of(claims)
        if key not in stored and document is not None:
            _create(tx, document, declared.revision, rules, applied)
    for pool in stored.values():
        _settle(tx, pool, declared, rules, applied)
    return applied


def new_pool(document: Document, revision: str, uid: str, now: datetime) -> Pool:
    metadata = document.pool.metadata.replace(uid=uid, generation=1, creation_timestamp=now, finalizers=(FINALIZER,))
    conditions: tuple[Condition, ...] = ()
    for type_ in _AT_FIRST_UNKNOWN:
        conditions = set_condition(conditions, type_, Status.UNKNOWN, Reason.PENDING, now=now, observed_generation=1)
    status = PoolStatus(file=place(document), revision=revision, conditions=conditions)
    return _accepted(document.pool.replace(metadata=metadata, status=status), now)


def updated_pool(pool: Pool, document: Document, revision: str, now: datetime) -> Pool:
    """The stored pool as its document wants it. A pool that is that already comes back equal."""
    wanted = document.pool
    generation = pool.metadata.generation + (wanted.spec != pool.spec)
    metadata = pool.metadata.replace(
        generation=generation, labels=wanted.metadata.labels, annotations=wanted.metadata.annotations
    )
    is_new = wanted.spec != pool.spec or metadata != pool.metadata
    status = pool.status.replace(file=place(document), revision=revision if is_new else pool.status.revision)
    return _accepted(pool.replace(metadata=metadata, spec=wanted.spec, status=status), now)


def _create(tx: Transaction, document: Document, revision: str, rules: Rules, applied: Applied) -> None:
    pool = tx.put(new_pool(document, revision, rules.new_uid(), to_time(rules.now)))
    record_event(tx, pool, Reason.MANIFEST_ACCEPTED, f"declared in {place(document)}", now=rules.now)
    applied.created.append(pool.key)


def _settle(tx: Transaction, pool: Pool, declared: Declared, rules: Rules, applied: Applied) -> None:
    claims = declared.claims.get(pool.key, ())
    document = document_of(claims)
    nameless = declared.nameless.get(pool.status.file.rpartition(":")[0], ())
    if pool.metadata.deletion_timestamp is not None:
        # A document that is there now is remembered by being there: it is taken in once the old row is gone.
        if MANIFEST_FINALIZER in pool.metadata.finalizers:
            applied.undeclared.append(pool.key)
    elif document is not None:
        _update(tx, pool, document, declared.revision, rules, applied)
    elif len(claims) > 1:
        message = f"declared in {places(claims)}; keep one. The last accepted spec stays in force"
        _refuse(tx, pool, Reason.CONFLICT, message, rules, applied)
    elif claims or nameless:
        broken = [each for each in (*claims, *nameless) if not isinstance(each, Document)]
        causes = "; ".join(str(problem) for document in broken for problem in document.problems)
        _refuse(tx, pool, Reason.MANIFEST_INVALID, f"{causes}. The last accepted spec stays in force", rules, applied)
    elif rules.counts_absence:
        applied.absent.add(pool.metadata.uid)
        if pool.metadata.uid in rules.proved:
            _remove(tx, pool, rules, applied)


def _update(tx: Transaction, pool: Pool, document: Document, revision: str, rules: Rules, applied: Applied) -> None:
    if _says_all(pool, document):
        return
    new = updated_pool(pool, document, revision, to_time(rules.now))
    tx.put(new)
    if new.spec != pool.spec:
        changes = diff_spec(pool.spec.to_json(), new.spec.to_json())
        shown = "; ".join(str(change) for change in changes[:_SHOWN_CHANGES])
        more = f"; and {len(changes) - _SHOWN_CHANGES} more" if len(changes) > _SHOWN_CHANGES else ""
        record_event(tx, new, Reason.SPEC_CHANGED, f"{place(document)}: {shown}{more}", now=rules.now)
    elif not is_true(pool.status.conditions, PoolCondition.ACCEPTED):
        record_event(tx, new, Reason.MANIFEST_ACCEPTED, f"{place(document)} is good again", now=rules.now)
    applied.changed.append(pool.key)


def _refuse(tx: Transaction, pool: Pool, reason: Reason, message: str, rules: Rules, applied: Applied) -> None:
    message = message if len(message) <= _SHOWN_CHARACTERS else f"{message[:_SHOWN_CHARACTERS]}…"
    conditions = set_condition(
        pool.status.conditions,
        PoolCondition.ACCEPTED,
        Status.FALSE,
        reason,
        message,
        now=to_time(rules.now),
        observed_generation=pool.metadata.generation,
    )
    new = pool.replace(status=pool.status.replace(conditions=conditions))
    if new == pool:
        return
    tx.put(new)
    record_event(tx, new, reason, message, now=rules.now, warning=True)
    applied.refused.append(pool.key)


def _remove(tx: Transaction, pool: Pool, rules: Rules, applied: Applied) -> None:
    marked = tx.put(pool.replace(metadata=pool.metadata.replace(deletion_timestamp=to_time(rules.now))))
    note = f"its document is no longer in the files (last seen in {pool.status.file})"
    record_event(tx, marked, Reason.MANIFEST_REMOVED, note, now=rules.now)
    applied.removed.append(pool.key)


def _accepted(pool: Pool, now: datetime) -> Pool:
    conditions = set_condition(
        pool.status.conditions,
        PoolCondition.ACCEPTED,
        Status.TRUE,
        Reason.MANIFEST_ACCEPTED,
        now=now,
        observed_generation=pool.metadata.generation,
    )
    return pool.replace(status=pool.status.replace(conditions=conditions))


def _says_all(pool: Pool, document: Document) -> bool:
    """Nothing to do, as for nearly all pools of nearly every snapshot."""
    accepted = find(pool.status.conditions, PoolCondition.ACCEPTED)
    meta, wanted = pool.metadata, document.pool
    return (
        accepted is not None
        and accepted.status is Status.TRUE
        and pool.status.file == place(document)
        and meta.labels == wanted.metadata.labels
        and meta.annotations == wanted.metadata.annotations
        and pool.spec == wanted.spec
    )
