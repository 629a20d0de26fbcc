"""Launches as rows: a frozen dataclass tree in, the same tree out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from skyward.facts import LAUNCH_TRANSITIONS, Launch, LaunchRequest, LaunchState, Offering
from skyward.store.tables import LaunchTable

_TABLE = LaunchTable.metadata.tables["launches"]


def get(sql: Connection, launch_id: str) -> Launch | None:
    body = sql.execute(select(_TABLE.c.body).where(_TABLE.c.id == launch_id)).scalar()
    return None if body is None else _parse(body)


def get_all(sql: Connection) -> tuple[Launch, ...]:
    """Oldest first."""
    bodies = sql.execute(select(_TABLE.c.body).order_by(_TABLE.c.created_at, _TABLE.c.id)).scalars()
    return tuple(_parse(body) for body in bodies)


def put(sql: Connection, launch: Launch) -> None:
    """Raises ValueError for a transition that LAUNCH_TRANSITIONS does not have. Writing what is stored is a no-op."""
    old = get(sql, launch.id)
    body = json.dumps(asdict(launch))
    if old is None:
        sql.execute(insert(_TABLE).values(id=launch.id, created_at=launch.created_at, body=body))
        return
    if old == launch:
        return
    if launch.state not in LAUNCH_TRANSITIONS[old.state]:
        raise ValueError(f"launch {launch.id} may not go from {old.state} to {launch.state}")
    sql.execute(update(_TABLE).where(_TABLE.c.id == launch.id).values(body=body))


def drop(sql: Connection, launch_id: str) -> None:
    sql.execute(delete(_TABLE).where(_TABLE.c.id == launch_id))


def _parse(body: str) -> Launch:
    values: dict[str, Any] = json.loads(body)
    request = values["request"]
    return Launch(
        **{
            **values,
            "request": LaunchRequest(
                **{
                    **request,
                    "offering": Offering(**request["offering"]),
                    "avoid_hosts": tuple(request.get("avoid_hosts", ())),
                }
            ),
            "nodes": tuple(values["nodes"]),
            "state": LaunchState(values["state"]),
            "instances": tuple(values["instances"]),
        }
    )
