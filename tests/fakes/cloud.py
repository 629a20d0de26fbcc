"""A cloud in memory: it outlives the operator that uses it, and it can be told to misbehave."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from skyward.api import Json
from skyward.contracts import Clock, DriverFacts, HostKeyTrust
from skyward.errors import InstanceNotFound, InsufficientCapacity, NotYet, OutcomeUnknown, ProviderError
from skyward.facts import Instance, InstanceState, LaunchOutcome, LaunchRequest, Listing, Notice, Offering
from tests.fakes.time import FakeClock

SMALL, LARGE = Offering("local", "small", usd_per_hour=0.25), Offering("local", "large", usd_per_hour=0.50)


@dataclass
class Machine:
    """What really exists, whatever listings say."""

    id: str
    owner: str
    launch: str
    pool_uid: str
    created_at: float
    up_at: float
    visible_at: float
    lost: InstanceState | None = None
    delete_asked_at: float | None = None
    gone_at: float = float("inf")
    pool: str = ""
    epoch: int | None = None
    host_id: str = ""
    notice: Notice | None = None
    offering: Offering = SMALL


@dataclass
class Faults:
    """Consumed as they happen; empty means a perfect cloud."""

    before_create: list[ProviderError] = field(default_factory=list)
    """Raised, one per call, without making anything."""
    lost_replies: int = 0
    """So many next creates do their work and lose the answer."""
    lost_requests: int = 0
    """So many next creates make nothing and give no answer either."""
    list_errors: list[ProviderError] = field(default_factory=list)
    delete_errors: list[ProviderError] = field(default_factory=list)
    listing_is_down: bool = False
    hangs: Callable[[str], bool] = lambda pool_uid: False
    """Whether creates and deletes for this pool uid never answer."""
    hides: Callable[[str], bool] = lambda instance_id: False
    """Which instances no listing shows although they are there, and may be asked for by id."""
    get_errors: list[ProviderError] = field(default_factory=list)
    answers: Callable[[tuple[Instance, ...]], tuple[Instance, ...]] = lambda instances: instances
    """What becomes of the answer of a create call on its way."""
    sold_out: Callable[[Offering], bool] = lambda offering: False
    """Of which offerings there is nothing left."""
    capacity: int | None = None
    """The most machines that may exist at once."""


class FakeCloud:
    def __init__(
        self,
        clock: FakeClock,
        *,
        boot_s: float = 20.0,
        latency_s: float = 0.5,
        visibility_s: float = 0.0,
        deletion_s: float = 2.0,
        undeletable_while_starting: bool = False,
    ) -> None:
        self.clock = clock
        self.faults = Faults()
        self.calls: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        """Most machines of one pool uid that ever existed at once."""
        self.created: list[LaunchRequest] = []
        self.hosts: tuple[str, ...] = ()
        """What machines are made on: the first that the launch does not avoid. Without hosts they have no name."""
        self.drift: dict[str, str] = {}
        """Instances that no longer are what was asked for, and why."""
        self.before_create: Callable[[LaunchRequest], None] = lambda request: None
        self.on_gone: Callable[[str], None] = lambda instance_id: None
        self.latency_s = latency_s
        self._boot_s = boot_s
        self._visibility_s = visibility_s
        self._deletion_s = deletion_s
        self._undeletable_while_starting = undeletable_while_starting
        self._machines: dict[str, Machine] = {}
        self._made: dict[str, tuple[str, ...]] = {}
        self._count = 0

    @property
    def alive(self) -> dict[str, Machine]:
        """Everything that could cost money now."""
        now = self.clock.now()
        return {key: machine for key, machine in self._machines.items() if now < machine.gone_at}

    def of_pool(self, pool_uid: str) -> list[Machine]:
        return [machine for machine in self.alive.values() if machine.pool_uid == pool_uid]

    def add_foreign(self, name: str, owner: str = "somebody else", pool_uid: str = "their-pool") -> None:
        now = self.clock.now()
        self._machines[name] = Machine(name, owner, "their-launch", pool_uid, now, now, now)

    def add_orphan(self, name: str, owner: str, pool_uid: str = "a lost pool") -> None:
        """A machine with our mark that no record knows."""
        self.add_foreign(name, owner, pool_uid)

    def add_surplus(self, like: str, name: str) -> None:
        """One machine more than was asked for, of the same launch."""
        of = self._machines[like]
        now = self.clock.now()
        self._machines[name] = Machine(name, of.owner, of.launch, of.pool_uid, now, now, now)

    def lose(self, instance_id: str, state: InstanceState = InstanceState.PREEMPTED) -> None:
        """The provider takes the machine; the record of it stays listed until it is deleted."""
        self._machines[instance_id].lost = state
        self.on_gone(instance_id)

    def announce(self, instance_id: str, in_s: float) -> None:
        """The provider says that it takes the machine; that it does is the test's to do."""
        self._machines[instance_id].notice = Notice(self.clock.now() + in_s, "spot capacity is needed elsewhere")

    def vanish(self, instance_id: str) -> None:
        """The machine is gone and no listing shows it any more."""
        self._machines[instance_id].gone_at = self.clock.now()
        self.on_gone(instance_id)

    def create(self, request: LaunchRequest, *, has_token: bool) -> tuple[Instance, ...]:
        if has_token and request.launch in self._made:
            return tuple(self.picture(self._machines[key]) for key in self._made[request.launch])
        self.before_create(request)
        room = request.count
        if self.faults.capacity is not None:
            room = min(room, self.faults.capacity - len(self.alive))
        if room <= 0 or self.faults.sold_out(request.offering):
            raise InsufficientCapacity("no capacity left", request.offering.id)
        self.created.append(request)
        machines = [self._make(request) for _ in range(room)]
        self._made[request.launch] = tuple(machine.id for machine in machines)
        self.peak[request.pool_uid] = max(self.peak[request.pool_uid], len(self.of_pool(request.pool_uid)))
        return tuple(self.picture(machine) for machine in machines)

    def listing(self, provider: str, owner: str, started_at: float) -> Listing:
        now = self.clock.now()
        own = (m for m in self.alive.values() if m.owner == owner and m.offering.provider == provider)
        visible = [m for m in own if m.visible_at <= now]
        shown = [machine for machine in visible if not self.faults.hides(machine.id)]
        return Listing(provider, tuple(self.picture(machine) for machine in shown), started_at, now)

    def delete(self, instance_id: str) -> None:
        machine = self.alive.get(instance_id)
        if machine is None:
            return
        now = self.clock.now()
        if self._undeletable_while_starting and now < machine.up_at:
            raise NotYet("it still starts")
        if machine.delete_asked_at is None:
            machine.delete_asked_at = now
            machine.gone_at = now + self._deletion_s
            self.on_gone(instance_id)

    def get(self, instance_id: str) -> Instance:
        machine = self.alive.get(instance_id)
        if machine is None or machine.visible_at > self.clock.now():
            raise InstanceNotFound(f"there is no instance {instance_id}")
        return self.picture(machine)

    def picture(self, machine: Machine) -> Instance:
        now = self.clock.now()
        if machine.delete_asked_at is not None:
            state = InstanceState.LEAVING
        elif machine.lost is not None:
            state = machine.lost
        else:
            state = InstanceState.UP if now >= machine.up_at else InstanceState.STARTING
        return Instance(
            provider=machine.offering.provider,
            id=machine.id,
            launch=machine.launch,
            state=state,
            address="10.0.0.1" if state is InstanceState.UP else "",
            host_key="ssh-ed25519 AAAA",
            created_at=machine.created_at,
            offering=machine.offering.name,
            usd_per_hour=machine.offering.usd_per_hour,
            pool=machine.pool,
            epoch=machine.epoch,
            host_id=machine.host_id,
            notice=machine.notice,
        )

    def _make(self, request: LaunchRequest) -> Machine:
        self._count += 1
        now = self.clock.now()
        machine = Machine(
            id=f"i-{self._count:05d}",
            owner=request.owner,
            launch=request.launch,
            pool_uid=request.pool_uid,
            created_at=now,
            up_at=now + self._boot_s,
            visible_at=now + self._visibility_s,
            pool=request.pool,
            epoch=request.epoch,
            offering=request.offering,
            host_id=next((host for host in self.hosts if host not in request.avoid_hosts), ""),
        )
        self._machines[machine.id] = machine
        return machine


class FakeDriver:
    """The plug of one operator into the cloud."""

    def __init__(
        self,
        cloud: FakeCloud,
        *,
        has_token: bool = True,
        visibility_s: float = 0.0,
        max_count: int = 100,
        clock: Clock | None = None,
        offerings: tuple[Offering, ...] = (SMALL, LARGE),
    ) -> None:
        """One for each provider, all of the same one."""
        self._cloud = cloud
        self._offerings = offerings
        self._clock: Clock = clock or cloud.clock
        self._facts = DriverFacts(
            name=offerings[0].provider,
            same_host=False,
            has_token=has_token,
            visibility_s=visibility_s,
            absence_s=2 * visibility_s,
            host_key_trust=HostKeyTrust.VOUCHED,
            resync_s=10.0,
            max_count=max_count,
        )

    @property
    def facts(self) -> DriverFacts:
        return self._facts

    async def offerings(self, options: Json) -> tuple[Offering, ...]:
        self._cloud.calls["offerings"] += 1
        return self._offerings

    async def create(self, request: LaunchRequest) -> LaunchOutcome:
        """The request arrives after half of the latency and its work is done then, whether or not anybody still listens."""
        faults = self._cloud.faults
        self._cloud.calls["create"] += 1
        await self._hang(request.pool_uid)
        await self._clock.sleep(self._cloud.latency_s / 2)
        if faults.before_create:
            raise faults.before_create.pop(0)
        if faults.lost_requests:
            faults.lost_requests -= 1
            raise OutcomeUnknown("the connection broke", request.launch)
        instances = self._cloud.create(request, has_token=self._facts.has_token)
        await self._clock.sleep(self._cloud.latency_s / 2)
        if faults.lost_replies:
            faults.lost_replies -= 1
            raise OutcomeUnknown("the answer was lost", request.launch)
        short = len(instances) < request.count
        return LaunchOutcome(
            faults.answers(instances), InsufficientCapacity("no more capacity", request.offering.id) if short else None
        )

    async def get(self, instance_id: str) -> Instance:
        self._cloud.calls["get"] += 1
        if self._cloud.faults.get_errors:
            raise self._cloud.faults.get_errors.pop(0)
        return self._cloud.get(instance_id)

    async def list(self, owner: str) -> Listing:
        self._cloud.calls["list"] += 1
        started_at = self._clock.now()
        await self._clock.sleep(self._cloud.latency_s / 5)
        if self._cloud.faults.list_errors:
            raise self._cloud.faults.list_errors.pop(0)
        if self._cloud.faults.listing_is_down:
            raise ProviderError("the cloud does not answer")
        return self._cloud.listing(self._facts.name, owner, started_at)

    async def delete(self, instance_id: str) -> None:
        self._cloud.calls["delete"] += 1
        machine = self._cloud.alive.get(instance_id)
        await self._hang(machine.pool_uid if machine is not None else "")
        await self._clock.sleep(self._cloud.latency_s / 5)
        if self._cloud.faults.delete_errors:
            raise self._cloud.faults.delete_errors.pop(0)
        self._cloud.delete(instance_id)

    async def _hang(self, pool_uid: str) -> None:
        if self._cloud.faults.hangs(pool_uid):
            await asyncio.Event().wait()

    def drifted(self, instance: Instance, template: Json) -> str | None:
        return self._cloud.drift.get(instance.id)

    async def close(self) -> None:
        return None
