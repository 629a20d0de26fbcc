"""The templates that a pool had, as rows."""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from skyward.facts import Revision
from skyward.store.tables import RevisionTable

_TABLE = RevisionTable.metadata.tables["revisions"]


def of_pool(sql: Connection, pool_uid: str) -> tuple[Revision, ...]:
    rows = sql.execute(select(_TABLE).where(_TABLE.c.pool_uid == pool_uid).order_by(_TABLE.c.number))
    return tuple(
        Revision(row.pool_uid, row.number, row.template_hash, json.loads(row.template), row.created_at, row.cause)
        for row in rows
    )


def put(sql: Connection, revision: Revision) -> None:
    values = {
        "template_hash": revision.template_hash,
        "template": json.dumps(revision.template, sort_keys=True),
        "created_at": revision.created_at,
        "cause": revision.cause,
    }
    statement = insert(_TABLE).values(pool_uid=revision.pool_uid, number=revision.number, **values)
    sql.execute(statement.on_conflict_do_update(index_elements=["pool_uid", "number"], set_=values))


def drop(sql: Connection, pool_uid: str, before: int) -> None:
    sql.execute(delete(_TABLE).where(_TABLE.c.pool_uid == pool_uid, _TABLE.c.number < before))
