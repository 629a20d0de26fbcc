"""The actor that kills, stops and fills disks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from signal import SIGCONT, SIGKILL, SIGSTOP

from tests.chaos.children import send, start_time
from tests.chaos.disk import Ballast
from tests.chaos.place import Place, append
from tests.chaos.profiles import Profile
from tests.chaos.stage import Actor, Stage
from tests.chaos.supervisor import AGENT_LEASE_S
from tests.chaos.targets import Kind, Target, find_targets

_LULL_S = (3.0, 6.0)
_LULL_SHARE = 0.08
"""Now and then there is time to get something done: an empty world has little to break."""
_EARLY_SHARE = 0.25
"""So often something of our own is hit that does not serve yet, or has no machines; always, and nothing would ever come up on
a busy host."""
_SHORT_S = (0.1 * AGENT_LEASE_S, 0.6 * AGENT_LEASE_S)
_LONG_S = (1.2 * AGENT_LEASE_S, 2.0 * AGENT_LEASE_S)
_FULL_S = (1.0, 5.0)

Own = Callable[[], Sequence[tuple[Kind, int, bool]]]
"""The run's own processes that are alive: kind, pid, and whether it has begun to serve."""


class Killer:
    def __init__(
        self, place: Place, stage: Stage, rng: random.Random, own: Own, ballast: Ballast | None, profile: Profile
    ) -> None:
        """Without `ballast` no disk is ever full."""
        self._profile = profile
        self._place = place
        self._stage = stage
        self._random = rng
        self._own = own
        self._ballast = ballast
        self._is_full = False
        self.kills = 0

    def act(self) -> Actor:
        profile = self._profile
        while True:
            yield self._random.uniform(*(_LULL_S if self._random.random() < _LULL_SHARE else profile.pause_s))
            draw = self._random.random()
            if draw < profile.stop_share:
                self._stop()
            elif draw < profile.stop_share + profile.disk_share and self._ballast is not None and not self._is_full:
                self._stage.enter(self._fill(self._ballast, self._random.uniform(*_FULL_S)))
            else:
                self._kill()

    def _kill(self) -> None:
        kind, targets = self._choose(self._profile.kills)
        done = [send(target.pid, target.started, SIGKILL) for target in targets]
        if any(done):
            self.kills += 1
            append(self._place.actions, "kill", kind=kind, **_named(targets))

    def _stop(self) -> None:
        kind, targets = self._choose(self._profile.stops)
        seconds = self._random.uniform(*self._random.choice((_SHORT_S, _LONG_S)))
        if targets:
            append(self._place.actions, "stop", kind=kind, seconds=round(seconds, 1), **_named(targets))
            self._stage.enter(_hold(targets, seconds))

    def _fill(self, ballast: Ballast, seconds: float) -> Actor:
        append(self._place.actions, "disk full", seconds=round(seconds, 1))
        self._is_full = True
        try:
            ballast.load()
            yield seconds
        finally:
            ballast.drop()
            self._is_full = False

    def _choose(self, weights: Mapping[Kind, int]) -> tuple[Kind, list[Target]]:
        """A kind of which there is something, and one of it; for a whole node, all that runs there."""
        by_kind: dict[Kind, list[list[Target]]] = {}
        for target in self._find():
            by_kind.setdefault(target.kind, []).append([target])
        machines = itertools.groupby(find_targets(self._place.nodes), lambda target: target.machine)
        by_kind[Kind.NODE] = [list(targets) for _, targets in machines]
        kinds = [kind for kind in weights if by_kind.get(kind)]
        # The same number of draws whatever is found, so that a seed stays as much the same as a real world allows.
        draw, place = self._random.random(), self._random.random()
        if not kinds:
            return Kind.NODE, []
        [kind] = random.Random(draw).choices(kinds, [weights[kind] for kind in kinds])
        return kind, by_kind[kind][int(place * len(by_kind[kind]))]

    def _find(self) -> list[Target]:
        """What runs on the machines, and what of our own serves them."""
        found = find_targets(self._place.nodes)
        is_early = self._random.random() < _EARLY_SHARE
        own = [
            Target("", kind, pid, start_time(pid))
            for kind, pid, serves in self._own()
            if (serves and found) or is_early
        ]
        return found + own


def _hold(targets: list[Target], seconds: float) -> Actor:
    try:
        for target in targets:
            send(target.pid, target.started, SIGSTOP)
        yield seconds
    finally:
        for target in targets:
            send(target.pid, target.started, SIGCONT)


def _named(targets: list[Target]) -> dict[str, object]:
    return {"machine": targets[0].machine, "pids": [target.pid for target in targets]} if targets else {}
