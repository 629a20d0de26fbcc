"""What a run breaks, and how much work is under way meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.chaos.pools import PoolPlan, plan_pools, plan_work
from tests.chaos.targets import Kind


@dataclass(frozen=True, slots=True)
class Load:
    """What the client asks for."""

    under_way: int
    """Items asked for and not answered, at most."""
    longest_map: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Profile:
    pools: Callable[[int], tuple[PoolPlan, ...]]
    """By the number of nodes of the pool that works."""
    kills: Mapping[Kind, int]
    """How often each kind is hit, in proportion."""
    stops: Mapping[Kind, int]
    stop_share: float
    """Of the blows, how many are a SIGSTOP."""
    disk_share: float
    """And how many fill the disk."""
    pause_s: tuple[float, float]
    has_people: bool
    """People work on the manifests and use skyctl."""
    load: Load
    nodes: int
    """When nobody says how many."""
    tasks_per_minute: int = 0
    """A run with fewer items than that proves too little; nothing is broken before the first was begun."""


EVERYTHING, QUEUE = "everything", "queue"

PROFILES: Mapping[str, Profile] = {
    EVERYTHING: Profile(
        pools=plan_pools,
        kills={
            Kind.OPERATOR: 3,
            Kind.AGENT: 5,
            Kind.CHILD: 7,
            Kind.SSH_SERVER: 3,
            Kind.NODE: 3,
            Kind.SCRIPT: 3,
            Kind.WORKLOAD: 1,
        },
        stops={Kind.OPERATOR: 2, Kind.AGENT: 2, Kind.CHILD: 1, Kind.SSH_SERVER: 1, Kind.NODE: 1},
        stop_share=0.15,
        disk_share=0.04,
        pause_s=(0.3, 1.6),
        has_people=True,
        load=Load(under_way=30, longest_map=10, longest_s=0.8),
        nodes=2,
    ),
    # Much work, and only those who handle it are hit: each kill falls among hundreds of items in every state.
    QUEUE: Profile(
        pools=plan_work,
        kills={Kind.OPERATOR: 2, Kind.AGENT: 6, Kind.CHILD: 14, Kind.WORKLOAD: 1},
        stops={Kind.OPERATOR: 1, Kind.AGENT: 3, Kind.CHILD: 3},
        stop_share=0.15,
        disk_share=0.0,
        pause_s=(0.3, 1.2),
        has_people=False,
        load=Load(under_way=1_500, longest_map=200, longest_s=0.003),
        nodes=3,
        tasks_per_minute=20_000,
    ),
}
