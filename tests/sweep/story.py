"""A story: what a user does and what befalls the world, in virtual time; deterministic, and the same with and without a death."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.simulation.faults import NO_FAULTS
from tests.simulation.loop import Schedule
from tests.simulation.profiles import PROFILES
from tests.simulation.scenario import Scenario
from tests.sweep.stage import Stage

Tell = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Story:
    name: str
    tell: Tell
    profile: str = "local"
    operators: int = 1
    """Processes over one store."""

    @property
    def scenario(self) -> Scenario:
        return Scenario(
            seed=1,
            hours=0.0,
            profile=self.profile,
            schedule=Schedule.FIFO,
            faults=NO_FAULTS,
            actors=frozenset(),
            pools=1,
            most_nodes=1,
            operators=self.operators,
        )

    @property
    def still_s(self) -> float:
        """Whatever was under way shows itself within this time: two listings, and two looks at the manifests."""
        return 2 * PROFILES[self.profile].resync_s + 12.0


class Book:
    """Stories by name, in the order in which they were written."""

    def __init__(self) -> None:
        self.stories: dict[str, Story] = {}

    def story(self, *, profile: str = "local", operators: int = 1) -> Callable[[Tell], Tell]:
        def add(tell: Tell) -> Tell:
            name = (
                f"{tell.__name__.replace('_', '-')}-on-{profile}"
                if profile != "local"
                else tell.__name__.replace("_", "-")
            )
            assert name not in self.stories, name
            self.stories[name] = Story(name, tell, profile, operators)
            return tell

        return add
