"""What was read of each file before, so that hundreds of files that did not change cost one `stat` each.

Content decides, never a time stamp: a file is taken as known only while nothing at all of its marks moved, the time of
its last change of any kind included, which no program can set. Marks are coarse, so that a file written twice within
one tick may look unchanged; therefore what was read is believed only when it was read well after its marks were first
seen. And every so often everything is read again, for file systems whose marks lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from skyward.contracts import FileInfo

E = TypeVar("E")
SETTLED_S = 2.0
"""The coarsest file systems keep time in steps of two seconds."""
READ_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class _Seen(Generic[E]):
    info: FileInfo
    since: float
    """When these marks were first seen."""
    read_at: float
    entry: E


class Known(Generic[E]):
    def __init__(self) -> None:
        self._seen: dict[str, _Seen[E]] = {}
        self._now = 0.0
        self._full_at: float | None = None

    def begin(self, now: float) -> None:
        """Before a snapshot is taken. `now` is monotonic."""
        self._now = now
        if self._full_at is None or now - self._full_at >= READ_AGAIN_S:
            self._full_at = now
            self._seen = {
                name: _Seen(seen.info, seen.since, float("-inf"), seen.entry) for name, seen in self._seen.items()
            }

    def get(self, name: str, info: FileInfo) -> E | None:
        """What was read of this file, if that is still certain."""
        seen = self._seen.get(name)
        if seen is None or seen.info != info or seen.read_at - seen.since < SETTLED_S:
            return None
        return seen.entry

    def keep(self, name: str, info: FileInfo, entry: E) -> None:
        """It was read just now, after it had these marks."""
        seen = self._seen.get(name)
        since = seen.since if seen is not None and seen.info == info else self._now
        self._seen[name] = _Seen(info, since, self._now, entry)

    def only(self, names: set[str]) -> None:
        """Forget all others."""
        if len(self._seen) > len(names):
            self._seen = {name: seen for name, seen in self._seen.items() if name in names}
