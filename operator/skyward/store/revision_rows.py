"""The templates that a pool had, as rows."""

from __future__ import annotations

import json
import sqlite3

from skyward.facts import Revision


def of_pool(raw: sqlite3.Connection, pool_uid: str) -> tuple[Revision, ...]:
    rows = raw.execute(
        "SELECT number, template_hash, template, created_at, cause FROM revisions WHERE pool_uid = ? ORDER BY number",
        (pool_uid,),
    )
    return tuple(
        Revision(pool_uid, number, template_hash, json.loads(template), created_at, cause)
        for number, template_hash, template, created_at, cause in rows
    )


def put(raw: sqlite3.Connection, revision: Revision) -> None:
    template = json.dumps(revision.template, sort_keys=True)
    raw.execute(
        "INSERT INTO revisions (pool_uid, number, template_hash, template, created_at, cause) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (pool_uid, number) DO UPDATE SET template_hash = excluded.template_hash, "
        "template = excluded.template, created_at = excluded.created_at, cause = excluded.cause",
        (revision.pool_uid, revision.number, revision.template_hash, template, revision.created_at, revision.cause),
    )


def drop(raw: sqlite3.Connection, pool_uid: str, before: int) -> None:
    raw.execute("DELETE FROM revisions WHERE pool_uid = ? AND number < ?", (pool_uid, before))
