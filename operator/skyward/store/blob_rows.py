"""Which task names which blob, written with the payloads that name them: a blob is kept as long as a row does."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from skyward.store import batches
from skyward_agent.wire.payload import MAGIC, PayloadError, references

_MAGIC_LENGTH = len(MAGIC)


def note(raw: sqlite3.Connection, seq: int, payloads: Iterable[bytes]) -> None:
    """Part of the transaction that stores these payloads of a task. Costs next to nothing where none names a blob."""
    for payload in payloads:
        if payload[:_MAGIC_LENGTH] != MAGIC:
            continue
        try:
            named = references(payload)
        except PayloadError:
            continue  # it names nothing that anybody could ask for
        raw.executemany("INSERT OR IGNORE INTO blob_refs VALUES (?, ?)", [(seq, ref.digest) for ref in named])


def forget(raw: sqlite3.Connection, seq: int) -> None:
    raw.execute("DELETE FROM blob_refs WHERE task = ?", (seq,))


def named(raw: sqlite3.Connection, digests: Collection[str]) -> frozenset[str]:
    """Those of them that a task names."""
    found: set[str] = set()
    for part in batches.chunks(tuple(digests)):
        marks = ", ".join("?" * len(part))
        rows = raw.execute(f"SELECT DISTINCT digest FROM blob_refs WHERE digest IN ({marks})", tuple(part))  # noqa: S608
        found.update(digest for (digest,) in rows)
    return frozenset(found)


def is_named_by(raw: sqlite3.Connection, digest: str, tasks: Collection[str]) -> bool:
    """Whether one of these tasks, by uid, names the blob."""
    rows = raw.execute(
        "SELECT tasks.uid FROM blob_refs JOIN tasks ON tasks.seq = blob_refs.task WHERE blob_refs.digest = ?", (digest,)
    )
    return any(uid in tasks for (uid,) in rows)
