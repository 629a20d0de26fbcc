"""Time that does not jump. Wall time may be set by hand, by NTP or by a laptop that slept; what is decided from it must
not believe that hours have passed.

`now` is the wall time of the start plus what has passed since on the monotonic clock. Small differences are worn off
slowly; a jump is followed only by `step`, when somebody has found the wall clock steady again. Everything that waits
for time to pass then starts anew at `began`.
"""

from __future__ import annotations

from skyward.contracts import Clock

TOLERANCE_S = 60.0
"""A difference up to this is drift; one beyond it is a jump."""
LONGEST_STEP_S = 7 * 86_400.0
"""A jump beyond this is not followed, whatever the wall clock says."""
_SLEW = 0.05


class SteadyClock:
    """Implements `contracts.Clock`. All of an operator uses one of these."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base = clock.now()
        self._since = clock.monotonic()
        self._began = self._base
        self._stepped_s = 0.0

    def go_on_from(self, newest: float) -> None:
        """At the start: something was written at that time, so it is not earlier now. A wall clock that is further behind than a
        jump is followed is believed."""
        ahead_s = newest - self.now()
        if 0 < ahead_s <= LONGEST_STEP_S:
            self._base += ahead_s
            self._began = self.now()

    def now(self) -> float:
        return self._base + (self._clock.monotonic() - self._since)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    @property
    def began(self) -> float:
        """Since when this clock counts without a step: what waits for time to pass waits from here at the earliest."""
        return self._began

    @property
    def age_now(self) -> float:
        """`now` for ages of what is kept: steps do not make anything older."""
        return self.now() - self._stepped_s

    @property
    def off_s(self) -> float:
        """How far the wall clock is ahead."""
        return self._clock.now() - self.now()

    def slew(self, elapsed_s: float) -> None:
        """Wear off some of the difference, as much as may be after so many seconds: durations stay right to a twentieth."""
        most_s = _SLEW * elapsed_s
        self._base += min(max(self.off_s, -most_s), most_s)

    def step(self) -> float:
        """Follow the wall clock at once; how far that was."""
        off_s = self.off_s
        self._base += off_s
        self._stepped_s += max(off_s, 0.0)
        self._began = self.now()
        return off_s


def steady(clock: Clock) -> SteadyClock:
    """The operator's own clock, or a new one over a plain clock."""
    return clock if isinstance(clock, SteadyClock) else SteadyClock(clock)
