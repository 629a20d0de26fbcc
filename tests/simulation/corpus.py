"""Seeds that found something, with what it was: they run first, for ever."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    seed: int
    hours: float
    profile: str
    rule: str
    story: str
    """What was wrong, in one sentence."""

    def __str__(self) -> str:
        return f"{self.rule}-{self.seed}"


CORPUS: tuple[Found, ...] = (
    Found(10, 0.5, "listed", "S18", "a manifest cut in the middle of its pool's name took that pool for removed"),
    Found(11, 0.5, "market", "S18", "a manifest cut to nothing took its pool for removed"),
    Found(
        71, 0.5, "local", "S4", "a replayed create call that was refused unread made a launch rejected that had worked"
    ),
    Found(
        3, 0.5, "local", "S31", "a failed commit whose caller was gone came up as an exception that nobody asked for"
    ),
)
