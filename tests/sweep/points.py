"""Where an operator may die in a story, and fair shares of that."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.errors import UserError
from tests.simulation.process import When
from tests.sweep.run import Point, Telling


@dataclass(frozen=True, slots=True)
class Share:
    """A part of all points. Shares with consecutive numbers are disjoint, and together they are everything."""

    percent: float = 100.0
    by: int = 0

    @property
    def stride(self) -> int:
        return max(1, round(100.0 / self.percent))


def points_of(telling: Telling, share: Share, *, after: int = 0) -> tuple[Point, ...]:
    """In the order of the story, the moments of each call in theirs; with `after`, only those of operators started later."""
    points = [Point(call, when) for call in telling.calls if call.process > after for when in call.moments]
    offset = (share.by + sum(telling.story.encode())) % share.stride  # stories begin at different places
    return tuple(points[offset :: share.stride])


def parse_point(telling: Telling, text: str) -> Point:
    """Raises UserError."""
    place, _, when = text.partition(":")
    try:
        return Point(telling.calls[int(place) - 1], When(when))
    except (ValueError, IndexError):
        raise UserError(
            f"{text!r} is no point: give CALL:WHEN, a call from 1 to {len(telling.calls)} and before, effect or after"
        ) from None
