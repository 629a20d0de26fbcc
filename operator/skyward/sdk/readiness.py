"""Whether a pool is ready, read from its object, and how long somebody waits for that."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from skyward.errors import PoolNotReady

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class PoolState:
    is_ready: bool
    stalled: str
    message: str


def read_state(pool: dict[str, Any]) -> PoolState:
    status = pool.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    stalled = conditions.get("Stalled", {})
    current = status.get("observedGeneration", 0) >= pool["metadata"].get("generation", 1)
    wanted = (pool.get("spec") or {}).get("nodes", 0)
    return PoolState(
        is_ready=current and ready.get("status") == "True",
        stalled=stalled.get("message", "") or "stalled" if stalled.get("status") == "True" else "",
        message=f"{status.get('ready', 0)} of {wanted} nodes are ready. {ready.get('message', '')}".strip(),
    )


class Patience:
    """One wait for one pool; begins when it is made."""

    def __init__(self, pool: str, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def is_over(self, state: PoolState) -> bool:
        """True when the pool is ready. Raises PoolNotReady when it is too late, or when only a human can help."""
        if state.is_ready:
            return True
        if state.stalled:
            raise PoolNotReady(f"pool {self._pool} cannot become ready: {state.stalled}")
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise PoolNotReady(f"pool {self._pool} is not ready after {self._timeout:g} s: {state.message}")
        return False
