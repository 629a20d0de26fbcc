"""Since when complete listings lack an instance: the memory that one listing is not enough to prove a loss by."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from skyward.facts import Listing

_MOST_READINGS = 1000


class Absences:
    """Of one provider. Remembers when its complete listings began and which of them last showed what has vanished since;
    and of every instance that is asked about, the answer, which stays the same as long as it stays away."""

    def __init__(self, horizon_s: float) -> None:
        """Nobody needs an absence to last longer than `horizon_s`, and who cares about an instance asks more often."""
        self._horizon_s = horizon_s
        self._readings: list[float] = []
        """When the listings began that are still of interest, oldest first."""
        self._shown: frozenset[str] = frozenset()
        self._last_shown: dict[str, float] = {}
        """Of what is no longer shown."""
        self._answers: dict[str, tuple[float, float]] = {}
        """Since when it is missing, and the listing at which that was last asked."""

    def take(self, listing: Listing) -> None:
        if self._readings and listing.started_at < self._readings[-1]:
            self._begin_anew()  # the clock was set back: what was before cannot be compared
        shown = frozenset(instance.id for instance in listing.instances)
        if self._readings:
            self._last_shown.update(dict.fromkeys(self._shown - shown, self._readings[-1]))
        for instance_id in shown - self._shown:
            self._last_shown.pop(instance_id, None)
            self._answers.pop(instance_id, None)
        self._shown = shown
        self._readings.append(listing.started_at)
        self._forget(listing.started_at - self._horizon_s)

    def missing_since(self, instance_id: str, after: float) -> float | None:
        """The beginning of the first complete listing, of those that began then or later, since which none has shown the
        instance. None when the newest shows it or no listing is that new. What came before this operator does not count."""
        if instance_id in self._shown or not self._readings:
            return None
        since, _ = self._answers.get(instance_id, (None, 0.0))
        if since is None or since < after:
            since = self._first_without(instance_id, after)
        if since is not None:
            self._answers[instance_id] = (since, self._readings[-1])
        return since

    def _first_without(self, instance_id: str, after: float) -> float | None:
        first = bisect_left(self._readings, after)
        shown_at = self._last_shown.get(instance_id)
        if shown_at is not None:
            first = max(first, bisect_right(self._readings, shown_at))
        return self._readings[first] if first < len(self._readings) else None

    def _begin_anew(self) -> None:
        self._readings.clear()
        self._last_shown.clear()
        self._answers.clear()

    def _forget(self, before: float) -> None:
        """One older reading is kept: it says that an absence lasts at least as long as the horizon."""
        old = max(bisect_right(self._readings, before) - 1, len(self._readings) - _MOST_READINGS, 0)
        if not old:
            return
        del self._readings[:old]
        first = self._readings[0]
        self._last_shown = {key: at for key, at in self._last_shown.items() if at >= first}
        self._answers = {key: answer for key, answer in self._answers.items() if answer[1] >= first}
