"""Leases as rows: who leads."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from skyward.contracts import Lease
from skyward.store.tables import LeaseTable

_TABLE = LeaseTable.metadata.tables["leases"]


def get(sql: Connection, name: str) -> Lease | None:
    row = sql.execute(select(_TABLE).where(_TABLE.c.name == name)).first()
    return None if row is None else Lease(row.name, row.holder, row.epoch, row.duration_s, row.renewals)


def put(sql: Connection, lease: Lease) -> None:
    values = asdict(lease)
    sql.execute(insert(_TABLE).values(values).on_conflict_do_update(index_elements=["name"], set_=values))
