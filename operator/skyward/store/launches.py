"""Launches as rows: a frozen dataclass tree in, the same tree out."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import Any

from skyward.facts import (
    LAUNCH_TRANSITIONS,
    Accelerator,
    HostFailure,
    Launch,
    LaunchRequest,
    LaunchState,
    Offering,
    Supply,
)


def get(raw: sqlite3.Connection, launch_id: str) -> Launch | None:
    row = raw.execute("SELECT body FROM launches WHERE id = ?", (launch_id,)).fetchone()
    return None if row is None else _parse(row[0])


def get_all(raw: sqlite3.Connection) -> tuple[Launch, ...]:
    """Oldest first."""
    rows = raw.execute("SELECT body FROM launches ORDER BY created_at, id")
    return tuple(_parse(body) for (body,) in rows)


def put(raw: sqlite3.Connection, launch: Launch) -> None:
    """Raises ValueError for a transition that LAUNCH_TRANSITIONS does not have. Writing what is stored is a no-op."""
    old = get(raw, launch.id)
    if old == launch:
        return
    body = json.dumps(asdict(launch))
    if old is None:
        raw.execute(
            "INSERT INTO launches (id, created_at, body) VALUES (?, ?, ?)", (launch.id, launch.created_at, body)
        )
        return
    if launch.state not in LAUNCH_TRANSITIONS[old.state]:
        raise ValueError(f"launch {launch.id} may not go from {old.state} to {launch.state}")
    raw.execute("UPDATE launches SET body = ? WHERE id = ?", (body, launch.id))


def drop(raw: sqlite3.Connection, launch_id: str) -> None:
    raw.execute("DELETE FROM launches WHERE id = ?", (launch_id,))


def _parse(body: str) -> Launch:
    values: dict[str, Any] = json.loads(body)
    request = values["request"]
    return Launch(
        **{
            **values,
            "request": LaunchRequest(
                **{
                    **request,
                    "offering": _offering(request["offering"]),
                    "avoid_hosts": tuple(request.get("avoid_hosts", ())),
                }
            ),
            "nodes": tuple(values["nodes"]),
            "state": LaunchState(values["state"]),
            "instances": tuple(values["instances"]),
            "host_failures": tuple(HostFailure(**one) for one in values.get("host_failures", ())),
        }
    )


def _offering(values: dict[str, Any]) -> Offering:
    accelerator = values.get("accelerator")
    return Offering(
        **{
            **values,
            "accelerator": None if accelerator is None else Accelerator(**accelerator),
            "supply": Supply(values.get("supply", Supply.UNKNOWN)),
        }
    )
