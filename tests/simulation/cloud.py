"""The truth about machines, whatever anybody believes: what was made, by which call, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from skyward.errors import CreatedButFailed, InsufficientCapacity, NotYet, OutcomeUnknown, QuotaExceeded
from skyward.facts import Instance, InstanceState, LaunchOutcome, LaunchRequest, Notice, Offering
from tests.simulation.chance import Chance
from tests.simulation.clock import SimClock
from tests.simulation.faults import Faults
from tests.simulation.profiles import Profile

FOREIGN = "another installation"
FAR = math.inf


@dataclass(slots=True, eq=False)
class Machine:
    id: str
    owner: str
    launch: str
    pool_uid: str
    created_at: float
    up_at: float
    offering: Offering
    epoch: int = 0
    lost: InstanceState | None = None
    lost_at: float = FAR
    delete_asked_at: float = FAR
    gone_at: float = FAR
    zombie: bool = False
    """Its host runs on although the provider says that it is gone."""
    unreachable: bool = False
    """The provider says that it runs, and it never answers."""
    extra: bool = False
    """Made by no request of ours: a repeat on the way, or somebody else."""
    host: str = ""
    """What it runs on, where its provider tells."""
    taken_at: float = 0.0
    """When its provider takes it, as it announced; 0 where it announced nothing."""
    told_by: frozenset[str] = frozenset()
    """Who tells: its provider's listing, its agent, or both."""

    def state(self, at: float) -> InstanceState:
        if at >= self.gone_at:
            return InstanceState.GONE
        if at >= self.delete_asked_at:
            return InstanceState.LEAVING
        if self.lost is not None and at >= self.lost_at:
            return self.lost
        return InstanceState.UP if at >= self.up_at else InstanceState.STARTING


@dataclass(slots=True)
class Truth:
    """What checkers look at besides the machines themselves."""

    made_by_launch: dict[str, list[Machine]] = field(default_factory=dict)
    requests: dict[str, LaunchRequest] = field(default_factory=dict)
    """The first request of each launch that arrived."""


class Cloud:
    def __init__(self, profile: Profile, clock: SimClock, faults: Faults, chance: Chance) -> None:
        self.profile = profile
        self.clock = clock
        self.faults = faults
        self.machines: dict[str, Machine] = {}
        self.truth = Truth()
        self.on_effect: Callable[[str, Machine], None] = lambda what, machine: None
        self.on_gone: Callable[[str], None] = lambda instance_id: None
        """The host stopped: nothing on it runs any more."""
        self.choose_host: Callable[[Sequence[str]], str] = lambda avoided: ""
        self.told: Callable[[tuple[Instance, ...]], tuple[Instance, ...]] = lambda instances: instances
        """What a listing says of what there is to say."""
        self.silent_until = 0.0
        """Until then listings are empty, and lie."""
        self.lied_at = -FAR
        """When a listing last left out what it should have shown."""
        self.capacity = 10_000
        self.prices = {"small": 0.25, "large": 0.5, "spot": 0.1}
        self._stream = chance.stream("cloud")
        self._broken_off: set[str] = set()
        """Launches that made only some of their machines before their call failed; the same call again makes the others."""
        self._count = 0

    # --- the truth ---------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> dict[str, Machine]:
        """Everything that could cost money now."""
        now = self.clock.now()
        return {key: machine for key, machine in self.machines.items() if now < machine.gone_at}

    def is_alive(self, machine: Machine) -> bool:
        return self.clock.now() < machine.gone_at

    def runs(self, instance_id: str) -> bool:
        """Its host is switched on."""
        machine = self.machines.get(instance_id)
        if machine is None:
            return False
        now = self.clock.now()
        if machine.zombie:
            return True
        return machine.up_at <= now < min(machine.gone_at, machine.lost_at, machine.delete_asked_at)

    # --- what a request does, at the instant at which it arrives ----------------------------------------------------------

    def create(self, request: LaunchRequest) -> LaunchOutcome:
        known = self.truth.made_by_launch.get(request.launch)
        if self.profile.has_token and known is not None:
            if request.launch in self._broken_off:
                self._broken_off.discard(request.launch)
                known += [self._make(request) for _ in range(request.count - len(known))]
            return LaunchOutcome(tuple(self._picture(machine, self.clock.now()) for machine in known))
        self.truth.requests.setdefault(request.launch, request)
        if self.faults.strikes("quota"):
            raise QuotaExceeded("the account's limit is reached")
        room = min(request.count, self.capacity - len(self.alive))
        if self.faults.strikes("capacity"):
            room = 0
        elif request.count > 1 and self.faults.strikes("partial-batch"):
            room = min(room, self.faults.pick("partial-batch", request.count))
        if room <= 0:
            raise InsufficientCapacity("no capacity left", request.offering.id)
        breaks_off = self.faults.strikes("room-runs-out")
        if breaks_off:
            room = self.faults.pick("room-runs-out", room)
            self._broken_off.add(request.launch)
        made = [self._make(request) for _ in range(room)]
        self.truth.made_by_launch.setdefault(request.launch, []).extend(made)
        if breaks_off:
            raise OutcomeUnknown("it broke off in the middle", request.launch)
        if request.count == 1 and self.faults.strikes("created-but-failed"):
            made[0].lost, made[0].lost_at = InstanceState.FAILED, self.clock.now()
            raise CreatedButFailed("the machine was made and did not start", made[0].id)
        if self.faults.strikes("surplus"):
            self._make(request, extra=True)
        pictures = tuple(self._picture(machine, self.clock.now()) for machine in made)
        short = room < request.count
        return LaunchOutcome(pictures, InsufficientCapacity("no more capacity", request.offering.id) if short else None)

    def delete(self, instance_id: str) -> None:
        machine = self.machines.get(instance_id)
        now = self.clock.now()
        if machine is None or now >= machine.delete_asked_at or now >= machine.gone_at:
            return
        starting = machine.state(now) is InstanceState.STARTING
        if self.profile.undeletable_while_starting and starting and now < machine.created_at + 300.0:
            raise NotYet("it still starts")
        if self.faults.strikes("not-yet"):
            raise NotYet("it is locked by another operation")
        if self.faults.strikes("lazy-delete"):
            return  # accepted, and forgotten: somebody must ask again
        machine.delete_asked_at = now
        machine.gone_at = now + self._between(self.profile.deletion_s)
        self._stopped(machine, "deleted")

    def read(self, provider: str, owner: str, staleness_s: float) -> tuple[Instance, ...]:
        """As one replica knows it: everything as it was so long ago."""
        at = self.clock.now() - staleness_s
        shown = tuple(
            self._picture(machine, at)
            for machine in self.machines.values()
            if machine.offering.provider == provider
            and owner in (machine.owner, "")
            and machine.created_at <= at < machine.gone_at + self.profile.shows_gone_s
        )
        return self.told(shown)

    def find(self, instance_id: str, staleness_s: float) -> Instance | None:
        at = self.clock.now() - staleness_s
        machine = self.machines.get(instance_id)
        if machine is None or not machine.created_at <= at < machine.gone_at + self.profile.shows_gone_s:
            return None
        return self._picture(machine, at)

    def offerings(self, provider: str) -> tuple[Offering, ...]:
        dearness = self.profile.dearness(provider)
        return tuple(
            Offering(
                provider, name, capacity_type="spot" if name == "spot" else "on-demand", usd_per_hour=price * dearness
            )
            for name, price in self.prices.items()
        )

    def provider_of(self, instance_id: str) -> str:
        """Empty for a machine that no reading can show any more."""
        machine = self.machines.get(instance_id)
        return "" if machine is None else machine.offering.provider

    # --- what happens without us ------------------------------------------------------------------------------------------

    def lose(self, machine: Machine, state: InstanceState) -> None:
        """It stops for good, and stays listed so until somebody deletes it."""
        machine.lost, machine.lost_at = state, self.clock.now()
        self._stopped(machine, str(state))

    def vanish(self, machine: Machine) -> None:
        """Somebody else deleted it."""
        machine.delete_asked_at = machine.gone_at = self.clock.now()
        self._stopped(machine, "vanished")

    def add(self, name: str, owner: str, launch: str, pool_uid: str) -> Machine:
        now = self.clock.now()
        machine = Machine(
            name, owner, launch, pool_uid, now, now, Offering(self.profile.providers[0], "small"), extra=True
        )
        self.machines[name] = machine
        self.on_effect("appeared", machine)
        return machine

    def forget_old(self) -> None:
        """Machines that no reading can show any more."""
        horizon = self.clock.now() - 2 * self.profile.visibility_s - self.profile.shows_gone_s - 3600.0
        for key in [key for key, machine in self.machines.items() if machine.gone_at < horizon]:
            del self.machines[key]

    # --- inside -----------------------------------------------------------------------------------------------------------

    def _make(self, request: LaunchRequest, *, extra: bool = False) -> Machine:
        self._count += 1
        now = self.clock.now()
        boot_s = self._between(self.profile.boot_s)
        if self.faults.strikes("stuck-starting"):
            boot_s = 1e9
        machine = Machine(
            id=f"i-{self._count:05d}",
            owner=request.owner,
            launch=request.launch,
            pool_uid=request.pool_uid,
            created_at=now,
            up_at=now + boot_s,
            offering=request.offering,
            epoch=request.epoch,
            extra=extra,
            host=self.choose_host(request.avoid_hosts),
        )
        self.machines[machine.id] = machine
        self.on_effect("created", machine)
        return machine

    def _stopped(self, machine: Machine, what: str) -> None:
        self.on_effect(what, machine)
        if not machine.zombie:
            self.on_gone(machine.id)

    def _between(self, span: tuple[float, float]) -> float:
        low, high = span
        return low + (high - low) * self._stream.random()

    def _picture(self, machine: Machine, at: float) -> Instance:
        state = machine.state(at)
        return Instance(
            provider=machine.offering.provider,
            id=machine.id,
            launch=machine.launch,
            state=state,
            address=f"10.0.0.{machine.id[-3:].lstrip('0') or '0'}" if state is InstanceState.UP else "",
            host_key="ssh-ed25519 AAAA",
            created_at=machine.created_at,
            offering=machine.offering.name,
            usd_per_hour=machine.offering.usd_per_hour,
            epoch=machine.epoch,
            host_id=machine.host,
            notice=Notice(machine.taken_at, "spot capacity is needed") if "listing" in machine.told_by else None,
        )
