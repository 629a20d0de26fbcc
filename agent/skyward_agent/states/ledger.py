"""Reports that the gateway has not acknowledged: each is kept, and said again, until it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from skyward_agent.wire.messages import AttemptId, Report

SPOOL_AFTER_S = 0.25
"""A report that is acknowledged sooner costs no disk write; losing the agent before that means one more attempt."""
_SPOOL_BYTES_PER_S = 25_000_000
"""A report of many megabytes has that much more time: it is longer under way."""


class Ledger:
    """Unacknowledged reports, oldest first. Holds what an earlier incarnation left in the spool as well."""

    def __init__(self, spooled: Iterable[Report] = ()) -> None:
        self._reports = {report.id: report for report in spooled}
        self._unspooled: dict[AttemptId, float] = {}
        self._bytes = sum(len(report.value) for report in self._reports.values())

    def __contains__(self, attempt: object) -> bool:
        return attempt in self._reports

    def __len__(self) -> int:
        return len(self._reports)

    def __iter__(self) -> Iterator[Report]:
        return iter(tuple(self._reports.values()))

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def add(self, report: Report, now: float) -> None:
        self._reports[report.id] = report
        self._unspooled[report.id] = now + SPOOL_AFTER_S + (len(report.value) // 2**20) * 2**20 / _SPOOL_BYTES_PER_S
        self._bytes += len(report.value)

    def remove(self, attempt: AttemptId) -> bool:
        """Whether it was here."""
        report = self._reports.pop(attempt, None)
        if report is None:
            return False
        self._unspooled.pop(attempt, None)
        self._bytes -= len(report.value)
        return True

    def next_spool(self) -> float | None:
        """When the oldest report must be written down."""
        return next(iter(self._unspooled.values()), None)

    def to_spool(self, now: float, *, all_of_them: bool) -> list[Report]:
        """Reports that are to be written down now; each is given once."""
        due = [attempt for attempt, at in self._unspooled.items() if all_of_them or at <= now]
        for attempt in due:
            del self._unspooled[attempt]
        return [self._reports[attempt] for attempt in due]
