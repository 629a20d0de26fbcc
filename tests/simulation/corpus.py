"""Seeds that found something, with what it was: they run first, for ever."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.scenario import ACTORS, Scenario, choose_scenario, narrowed


@dataclass(frozen=True, slots=True)
class Found:
    seed: int
    hours: float
    profile: str
    rule: str
    story: str
    """What was wrong, in one sentence."""
    faults: tuple[str, ...] = ()
    """The only kinds, beside deaths, where it was found in a narrower world."""
    actors: tuple[str, ...] = ()
    weight: float = 1.0

    def __str__(self) -> str:
        return f"{self.rule}-{self.seed}"

    @property
    def scenario(self) -> Scenario:
        whole = choose_scenario(self.seed, self.hours, self.profile, frozenset(self.actors or ACTORS))
        return narrowed(whole, faults=self.faults, weight=self.weight, actors=self.actors)


CORPUS: tuple[Found, ...] = (
    Found(10, 0.5, "listed", "S18", "a manifest cut in the middle of its pool's name took that pool for removed"),
    Found(11, 0.5, "market", "S18", "a manifest cut to nothing took its pool for removed"),
    Found(
        71, 0.5, "local", "S4", "a replayed create call that was refused unread made a launch rejected that had worked"
    ),
    Found(
        3, 0.5, "local", "S31", "a failed commit whose caller was gone came up as an exception that nobody asked for"
    ),
    Found(
        0,
        1.0,
        "local",
        "S18",
        "the checker counted what nobody looked at: an outage between two looks, each whole",
        ("source-unreadable",),
        ("users", "files"),
        100.0,
    ),
    Found(
        4,
        1.0,
        "local",
        "S18",
        "the same, with an outage of two seconds",
        ("source-unreadable",),
        ("users", "files"),
        40.0,
    ),
    Found(
        6,
        0.5,
        "local",
        "L11",
        "rest began with a node that was cut off, and that nobody had missed yet",
        ("unreachable", "partition"),
        ("users", "work", "nodes"),
        3.0,
    ),
    Found(
        0,
        1.0,
        "local",
        "L11",
        "rest began with a node that was lost for ever, and that nobody had missed yet",
        ("partition", "agent-hang", "agent-crash", "unreachable", "bootstrap-fails"),
        ("users", "nodes"),
        3.0,
    ),
    Found(
        3,
        0.8,
        "local",
        "S12",
        "ceilings forgot what an empty listing left out, and the account was filled a second time",
        ("empty-listing", "missing-page", "repeated-report", "lost-request", "partition"),
        ("users", "cloud", "work", "nodes", "lies", "ceilings"),
        3.0,
    ),
    Found(
        45,
        1.0,
        "listed",
        "S13",
        "what a deleted pool's nodes had found out about a bad host was forgotten with a restart",
        actors=("users", "work", "cloud", "nodes", "files", "chaos", "health", "lies"),
    ),
    Found(
        3,
        1.0,
        "local",
        "L7",
        "a kept node that listings lack was looked at again at once, for ever, where all is visible at once",
        actors=(
            "users",
            "work",
            "cloud",
            "nodes",
            "files",
            "chaos",
            "strangers",
            "births",
            "lies",
            "notices",
            "strategies",
        ),
    ),
)
