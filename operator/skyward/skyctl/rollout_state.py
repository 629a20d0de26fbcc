"""How far a pool's roll-out is, in one line, from its object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyward.api import Json


@dataclass(frozen=True, slots=True)
class Outlook:
    line: str
    is_done: bool
    obstacle: str = ""
    """Why it does not go on before a human does something; empty when it does."""


def outlook(pool: Json, nodes: Callable[[], Sequence[Json]]) -> Outlook:
    """`nodes` lists those of the namespace; asked only where a restart may not have been looked at yet."""
    name, state = pool["metadata"]["name"], pool.get("status") or {}
    if state.get("observedGeneration", 0) < pool["metadata"].get("generation", 1):
        return Outlook("Waiting for pool spec update to be observed...", is_done=False)
    conditions = {one["type"]: one for one in state.get("conditions") or ()}
    obstacle = _obstacle(name, conditions)
    if obstacle:
        return Outlook("", is_done=False, obstacle=obstacle)
    wanted, current = pool["spec"]["nodes"], state.get("upToDate", 0)
    waiting = f'Waiting for pool "{name}" rollout to finish:'
    because = conditions.get("RollingOut", {}).get("message", "").partition("; ")[2]
    why = f" ({because})" if because else ""
    if current < wanted:
        return Outlook(f"{waiting} {current} out of {wanted} new nodes have been updated...{why}", is_done=False)
    old = max(state.get("nodes", 0) - current, _from_before_the_restart(pool, nodes))
    if old > 0:
        return Outlook(f"{waiting} {old} old nodes are pending termination...{why}", is_done=False)
    if state.get("available", 0) < wanted:
        return Outlook(
            f"{waiting} {state.get('available', 0)} of {wanted} updated nodes are available...{why}", is_done=False
        )
    return Outlook(f'pool "{name}" successfully rolled out', is_done=True)


def _obstacle(name: str, conditions: dict[str, Json]) -> str:
    stalled = conditions.get("Stalled", {})
    if stalled.get("status") == "True":
        return f'pool "{name}" is stalled: {stalled.get("message", "")}'
    rolling = conditions.get("RollingOut", {})
    if rolling.get("reason") == "OnDelete":
        return f'pool "{name}" is not rolled out by itself: {rolling.get("message", "")}'
    return ""


def _from_before_the_restart(pool: Json, nodes: Callable[[], Sequence[Json]]) -> int:
    """An annotation raises no generation: what its controller has not seen yet shows in the nodes alone."""
    from skyward.api.meta import RESTARTED
    from skyward.planner.annotations import parse_time

    at = parse_time((pool["metadata"].get("annotations") or {}).get(RESTARTED, ""))
    if at is None:
        return 0
    uid = pool["metadata"].get("uid", "")
    own = [node for node in nodes() if node["spec"]["poolUid"] == uid and not node["status"].get("failure")]
    return sum(datetime.fromisoformat(node["metadata"]["creationTimestamp"]).timestamp() < at for node in own)
