"""Events: what happened to an object and why, written in the transaction that made it happen. Repeats are counted."""

from __future__ import annotations

import hashlib

from skyward.api import Event, Object, ObjectMeta, ObjectReference, Reason, to_time
from skyward.contracts import Transaction


def record_event(
    tx: Transaction, regarding: Object, reason: Reason, note: str, *, now: float, warning: bool = False
) -> None:
    """Add an event, or count it again when the same one is still kept."""
    meta = regarding.metadata
    digest = hashlib.sha256("\0".join((regarding.kind, meta.uid, reason, note)).encode()).hexdigest()[:16]
    name = f"{meta.name}.{digest}"
    time = to_time(now)
    old = tx.get(Event, f"{meta.namespace}/{name}")
    if old is not None:
        tx.put(old.replace(count=old.count + 1, last_time=max(time, old.last_time)))
        return
    tx.put(
        Event(
            metadata=ObjectMeta(name=name, namespace=meta.namespace, uid=digest, creation_timestamp=time),
            regarding=ObjectReference(kind=regarding.kind, namespace=meta.namespace, name=meta.name, uid=meta.uid),
            type="Warning" if warning else "Normal",
            reason=reason,
            note=note,
            first_time=time,
            last_time=time,
        )
    )
