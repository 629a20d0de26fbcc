"""From what the files declare to the store, in one transaction: new pools, new generations, refusals, removals.

Level-triggered: it compares what is declared with what is stored and writes the difference, so that the same snapshot
applied again writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from skyward.api import (
    FINALIZER,
    Condition,
    Held,
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
from skyward.facts import Decision, DecisionKind
from skyward.intake.declared import Declared, document_of, place, places
from skyward.intake.holding import Hold, HoldLimits, Loss, find_hold
from skyward.intake.settled import Settled
from skyward.kit.decisions import record_decision
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
    held: Hold | None = None
    """What of the snapshot does not take effect."""
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
    limits: HoldLimits = field(default_factory=HoldLimits)
    approved: frozenset[str] = frozenset()
    """Hashes of held deletions that may go on."""
    asked: str = ""
    """Key of a pool that is changed through the API at this moment: that is evidence by itself."""


def apply(
    tx: Transaction, stored: Mapping[str, Pool], declared: Declared, rules: Rules, settled: Settled | None = None
) -> Applied:
    """`stored` is where to look; what is written comes from the rows themselves."""
    applied, settled = Applied(), settled or Settled(says_all)
    applied.held = _find_hold(stored.values(), declared, rules)
    for key, claims in declared.claims.items():
        document = document_of(claims)
        if document is not None and key not in stored and tx.get(Pool, key) is None:
            _create(tx, document, declared.revision, rules, applied)
    for pool in stored.values():
        document = document_of(declared.claims.get(pool.key, ()))
        held = applied.held.parts.get(pool.metadata.uid) if applied.held is not None else None
        is_living = pool.metadata.deletion_timestamp is None
        if is_living and held is None and document is not None and settled.holds(pool, document):
            continue
        _settle(tx, pool, held, declared, rules, applied)
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
    revision = revision if is_new else pool.status.revision
    status = pool.status.replace(file=place(document), revision=revision, held=None)
    return _accepted(pool.replace(metadata=metadata, spec=wanted.spec, status=status), now)


def _create(tx: Transaction, document: Document, revision: str, rules: Rules, applied: Applied) -> None:
    pool = tx.put(new_pool(document, revision, rules.new_uid(), to_time(rules.now)))
    record_event(tx, pool, Reason.MANIFEST_ACCEPTED, f"declared in {place(document)}", now=rules.now)
    applied.created.append(pool.key)


def _settle(tx: Transaction, pool: Pool, held: Held | None, declared: Declared, rules: Rules, applied: Applied) -> None:
    claims = declared.claims.get(pool.key, ())
    document = document_of(claims)
    is_absent = declared.lacks(pool)
    current = tx.get(Pool, pool.key)
    if current is None or current.metadata.uid != pool.metadata.uid:
        return  # it went meanwhile, of which its end tells
    pool = current
    if pool.metadata.deletion_timestamp is not None:
        # A document that is there now is remembered by being there: it is taken in once the old row is gone.
        if MANIFEST_FINALIZER in pool.metadata.finalizers:
            applied.undeclared.append(pool.key)
        return
    if is_absent and rules.counts_absence:
        applied.absent.add(pool.metadata.uid)
    if held is not None:
        kept = pool.replace(status=pool.status.replace(held=held))
        tx.put(kept if document is None else _accepted(kept, to_time(rules.now)))
    elif document is not None:
        _update(tx, pool, document, declared.revision, rules, applied)
    elif len(claims) > 1:
        message = f"declared in {places(claims)}; keep one. The last accepted spec stays in force"
        _refuse(tx, pool, Reason.CONFLICT, message, rules, applied)
    elif not is_absent:
        suspects = (*claims, *declared.nameless_of(pool))
        broken = [each for each in suspects if not isinstance(each, Document)]
        emptied = declared.emptied(pool)
        problems = [f"{emptied} is empty; remove the file to remove the pool"] if emptied else []
        causes = "; ".join((*(str(problem) for document in broken for problem in document.problems), *problems))
        _refuse(tx, pool, Reason.MANIFEST_INVALID, f"{causes}. The last accepted spec stays in force", rules, applied)
    elif rules.counts_absence and pool.metadata.uid in rules.proved:
        _remove(tx, pool, declared.revision, rules, applied)


def _find_hold(stored: Iterable[Pool], declared: Declared, rules: Rules) -> Hold | None:
    """What is not to take effect; None too when it is approved and every absence in it is proved."""
    living = [pool for pool in stored if pool.metadata.deletion_timestamp is None]
    losses = [
        loss
        for pool in living
        if pool.key != rules.asked and (loss := _loss(pool, declared, rules.counts_absence)) is not None
    ]
    hold = find_hold(losses, len(living), rules.limits, declared.revision)
    if hold is None or hold.hash not in rules.approved:
        return hold
    removed = {loss.pool.metadata.uid for loss in hold.losses if loss.left is None}
    return None if not removed or (rules.counts_absence and removed <= rules.proved) else hold


def _loss(pool: Pool, declared: Declared, counts_absence: bool) -> Loss | None:
    document = document_of(declared.claims.get(pool.key, ()))
    if document is not None:
        nodes = document.pool.spec.nodes
        return Loss(pool, nodes) if nodes < pool.spec.nodes else None
    # While absence does not count, what is held for it stays held.
    is_lost = declared.lacks(pool) and (counts_absence or pool.status.held is not None)
    return Loss(pool, None) if is_lost else None


def _update(tx: Transaction, pool: Pool, document: Document, revision: str, rules: Rules, applied: Applied) -> None:
    if says_all(pool, document):
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
    new = pool.replace(status=pool.status.replace(conditions=conditions, held=None))
    if new == pool:
        return
    tx.put(new)
    record_event(tx, new, reason, message, now=rules.now, warning=True)
    applied.refused.append(pool.key)


def _remove(tx: Transaction, pool: Pool, revision: str, rules: Rules, applied: Applied) -> None:
    metadata = pool.metadata.replace(deletion_timestamp=to_time(rules.now))
    marked = tx.put(pool.replace(metadata=metadata, status=pool.status.replace(held=None)))
    note = f"its document is no longer in the files (last seen in {pool.status.file})"
    record_event(tx, marked, Reason.MANIFEST_REMOVED, note, now=rules.now)
    held = pool.status.held
    inputs = (("file", pool.status.file), ("revision", revision), ("approved", held.hash if held is not None else ""))
    decision = Decision(DecisionKind.RETIRE, "proved-absence", Reason.MANIFEST_REMOVED, note, inputs)
    record_decision(tx, marked, decision, now=rules.now)
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


def says_all(pool: Pool, document: Document) -> bool:
    """Nothing to do, as for nearly all pools of nearly every snapshot."""
    accepted = find(pool.status.conditions, PoolCondition.ACCEPTED)
    meta, wanted = pool.metadata, document.pool
    return (
        accepted is not None
        and accepted.status is Status.TRUE
        and pool.status.file == place(document)
        and pool.status.held is None
        and meta.labels == wanted.metadata.labels
        and meta.annotations == wanted.metadata.annotations
        and pool.spec == wanted.spec
    )
