"""Evidence that pools are gone from the files: seen in two snapshots far enough apart, with nothing doubtful between."""

from __future__ import annotations

from collections.abc import Iterable


class Absences:
    """Kept in memory: after a restart the evidence is gathered anew."""

    def __init__(self, absence_s: float) -> None:
        self._absence_s = absence_s
        self._since: dict[str, float] = {}

    def proved(self, now: float) -> frozenset[str]:
        """Uids of pools that, if they are absent now as well, are removed. `now` is monotonic."""
        return frozenset(uid for uid, since in self._since.items() if now - since >= self._absence_s)

    def saw(self, absent: Iterable[str], now: float) -> None:
        """A complete snapshot lacked exactly these."""
        self._since = {uid: self._since.get(uid, now) for uid in absent}

    def forget(self) -> None:
        """The chain of evidence is broken: the directory was unreadable, or is another one."""
        self._since = {}

    def next_in(self, now: float) -> float | None:
        """Seconds until more evidence is old enough; None when all of it is."""
        left = (since + self._absence_s - now for since in self._since.values())
        return min((seconds for seconds in left if seconds > 0), default=None)
