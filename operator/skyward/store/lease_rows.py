"""Leases as rows: who leads."""

from __future__ import annotations

import sqlite3

from skyward.contracts import Lease


def get(raw: sqlite3.Connection, name: str) -> Lease | None:
    row = raw.execute("SELECT name, holder, epoch, duration_s, renewals FROM leases WHERE name = ?", (name,)).fetchone()
    return None if row is None else Lease(*row)


def put(raw: sqlite3.Connection, lease: Lease) -> None:
    raw.execute(
        "INSERT INTO leases (name, holder, epoch, duration_s, renewals) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, "
        "duration_s = excluded.duration_s, renewals = excluded.renewals",
        (lease.name, lease.holder, lease.epoch, lease.duration_s, lease.renewals),
    )
