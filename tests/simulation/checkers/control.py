"""S7, S25, S31, L11: who acts, on what knowledge, and what reaches the top of a loop."""

from __future__ import annotations

from skyward.facts import LaunchRequest, Listing
from tests.simulation.checkers.base import Checker
from tests.simulation.process import Process
from tests.simulation.silence import unexpected
from tests.simulation.storing import Commit

_STALE_RESYNCS = 3
_QUEUED_S = 60.0
"""How long a call may wait for its turn after it was decided."""
_ALLOWED = frozenset({"commit Heartbeats._save"})


class ControlChecker(Checker):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._listed_at: dict[int, float] = {}
        self._quiet = False
        self._epoch = 0
        self._leader = 0

    def committed(self, commit: Commit) -> None:
        if commit.lease is not None and commit.lease.epoch > self._epoch:
            if self._leader:
                self.world.coverage.reach("leadership taken over")
            self._epoch, self._leader = commit.lease.epoch, commit.process
        elif commit.process != self._leader:
            self.violate("S25", f"operator {commit.process}", f"{commit.name} committed while {self._leader} leads")
        if self._quiet and not (commit.lease or commit.removed or commit.name in _ALLOWED):
            self.violate("L11", commit.name, "was written although nothing happens")
        self.look()

    def create_sent(self, process: Process, request: LaunchRequest) -> None:
        self._check_leads(process, f"create of {request.launch}")

    def delete_sent(self, process: Process, instance_id: str) -> None:
        self._check_leads(process, f"delete of {instance_id}")

    def listed(self, process: Process, listing: Listing) -> None:
        self._listed_at[process.number] = self.world.now - (listing.ended_at - listing.started_at)

    def _check_leads(self, process: Process, what: str) -> None:
        if process.number != self._leader:
            self.violate("S25", f"operator {process.number}", f"{what} was sent while {self._leader} leads")
        if self._quiet:
            self.violate("L11", f"operator {process.number}", f"{what} was sent although nothing happens")
        seen_at = self._listed_at.get(process.number)
        oldest = self.world.now - _STALE_RESYNCS * self.world.cloud.profile.resync_s - _QUEUED_S
        if seen_at is None or seen_at < oldest:
            ago = "never" if seen_at is None else f"{self.world.now - seen_at:.0f} s ago"
            self.violate("S7", f"operator {process.number}", f"{what} was sent, and its last look succeeded {ago}")

    def look(self) -> None:
        for text in unexpected():
            self.violate("S31", "operator", text)
        problems = self.world.loop.problems
        while problems:
            self.violate("S31", "event loop", problems.pop(0))

    def settled(self) -> None:
        self.look()

    def quiet(self, is_quiet: bool) -> None:
        self._quiet = is_quiet

    def drained(self) -> None:
        self.look()
