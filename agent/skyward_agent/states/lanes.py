"""One lane: a place for one child process, and through it for one attempt at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skyward_agent.wire.messages import Failure, Lease

GRACE_S = 2.0
"""Between asking a child's process tree to end and killing it."""
RESPAWN_FIRST_S = 0.1
RESPAWN_LAST_S = 5.0


class LaneState(StrEnum):
    EMPTY = "empty"
    """No process; one is started at `respawn_at`."""
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    STOPPING = "stopping"
    """Its child is being ended; the lane is free again once the whole tree is gone."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the attempt of a stopping lane ends, whatever its child still says."""

    outcome: str
    failure: Failure


@dataclass(slots=True)
class Lane:
    index: int
    child: int = 0
    """Number of its latest child; raised with every start."""
    state: LaneState = LaneState.EMPTY
    respawn_at: float = 0.0
    failed_starts: int = 0
    last_failure: str = ""
    lease: Lease | None = None
    verdict: Verdict | None = None
    began_at: float = 0.0
    timeout_at: float | None = None
    kill_at: float | None = None

    def deadline(self) -> float | None:
        """When time alone will change something here."""
        if self.state is LaneState.EMPTY:
            return self.respawn_at
        if self.state is LaneState.STOPPING:
            return self.kill_at
        return self.timeout_at

    def start(self) -> None:
        self.child += 1
        self.state = LaneState.STARTING

    def run(self, lease: Lease, now: float) -> None:
        self.state = LaneState.BUSY
        self.lease = lease
        self.began_at = now
        self.timeout_at = None if lease.timeout_s is None else now + lease.timeout_s

    def rest(self) -> None:
        self.state = LaneState.IDLE
        self._clear()

    def stop(self, now: float, *, at_once: bool) -> None:
        self.state = LaneState.STOPPING
        self.timeout_at = None
        self.kill_at = None if at_once else now + GRACE_S

    def empty(self, now: float, failure: str) -> None:
        """Its child is gone. One that never got ready is tried again ever more slowly."""
        if self.state is LaneState.STARTING:
            delay = min(RESPAWN_LAST_S, RESPAWN_FIRST_S * 2.0 ** min(self.failed_starts, 10))
            self.failed_starts += 1
            self.last_failure = failure
            self.respawn_at = now + delay
        else:
            self.respawn_at = now
        self.state = LaneState.EMPTY
        self._clear()

    def _clear(self) -> None:
        self.lease = None
        self.verdict = None
        self.timeout_at = None
        self.kill_at = None
