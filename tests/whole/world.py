"""The whole operator in one process on fakes of every contract, in virtual time: it can be killed and started again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from skyward.api import Event, Node, NodeCondition, Pool, PoolCondition, Task, find, is_true, to_time
from skyward.api.providers import plug_in
from skyward.contracts import Holder, Store, Submission, Transaction
from skyward.controllers import Deps, build
from skyward.controllers.deps import Durations
from skyward.facts import Ceilings, Launch, LaunchRequest, LaunchState, Offering
from skyward.intake import DirectorySource
from skyward.kit.cache import ObjectCache
from skyward.kit.controller import Controller
from skyward.kit.directory import CachedNodes, pool_facts
from skyward.kit.leadership import Leadership
from skyward.kit.lifecycle import Component, Named, run_all
from skyward.kit.listings import Listings
from skyward.kit.steady import SteadyClock
from skyward.planner import is_gone
from skyward.queue import DurableQueue
from skyward.store import SqlStore, memory_store
from tests.builders import make_pool
from tests.fakes.cloud import LARGE, SMALL, FakeCloud, FakeDriver
from tests.fakes.ids import FakeIds
from tests.fakes.nodes import FakeBootstrapper, FakeCredentials, FakeLink, FakeMachines
from tests.fakes.seams import SeamDriver, SeamLeases, Seams, SeamStore
from tests.fakes.time import FakeClock, WallClock, run_virtual
from tests.intake.files import MemoryFiles

PYTHON = "3.11"
MANIFESTS = Path("/manifests")


class World:
    def __init__(
        self,
        seed: int,
        clock: FakeClock,
        *,
        driver: dict[str, Any],
        cloud: dict[str, Any],
        with_intake: bool,
        store: SqlStore | None = None,
        offerings: Mapping[str, tuple[Offering, ...]] | None = None,
    ) -> None:
        self.seed = seed
        self.clock = clock
        self.ids = FakeIds(seed)
        self.cloud = FakeCloud(clock, **cloud)
        self.machines = FakeMachines(self.cloud, self.ids)
        self.wall = WallClock(clock)
        """The operators' host."""
        self.store = store or memory_store(clock, self.ids)
        self.leadership: Leadership
        """The operator's, since it was last started."""
        self._operators = 0
        self.files = MemoryFiles()
        self.files.make_directory(str(MANIFESTS))
        self.credentials = FakeCredentials(self.ids)
        self.operator: asyncio.Task[None] | None = None
        self.seams = Seams(seed)
        self.link = FakeLink(self.machines)
        self.queue: DurableQueue
        """The operator's, since it was last started."""
        self.controllers: tuple[Controller, ...] = ()
        self.ceilings = Ceilings()
        """Of the next operator."""
        self._driver = driver
        self._offerings = dict(offerings or {"local": (SMALL, LARGE)})
        """What each provider sells; those besides `local` are plugged in."""
        for name in self._offerings:
            if name != "local":
                plug_in(name)
        self._with_intake = with_intake
        self._launches: dict[str, Launch] = {}
        self._submitted = 0
        self.commits = 0
        self.cloud.before_create = self._intent_is_committed

    # --- the operator process ---

    async def start(self, seams: Seams | None = None) -> None:
        assert self.operator is None
        self.seams = seams or Seams(self.seed)
        self.operator = asyncio.create_task(self._operate(self.seams, self.store), name="operator")

    async def start_standby(self) -> asyncio.Task[None]:
        """A second operator on the same store, which waits to lead; once it does, it is the one that is seen."""
        beside = memory_store(self.clock, self.ids, beside=self.store)
        return asyncio.create_task(self._operate(Seams(self.seed + 1), beside, exclusive=False), name="standby")

    async def kill(self) -> None:
        """The process is gone: nothing it still does has an effect."""
        assert self.operator is not None
        self.seams.crashed.set()
        self.operator.cancel()
        with suppress(asyncio.CancelledError):
            await self.operator
        self.operator = None

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def _operate(self, seams: Seams, data: SqlStore, *, exclusive: bool = True) -> None:
        clock = SteadyClock(self.wall)
        self._operators += 1
        leases = SeamLeases(data, seams)
        leadership = Leadership(leases, clock, holder=f"operator {self._operators}", is_exclusive=exclusive)
        await leadership.acquire()
        self.leadership, self.store = leadership, data
        store = SeamStore(data, seams, self._commit)
        fakes = [
            FakeDriver(self.cloud, clock=clock, offerings=sold, **self._driver) for sold in self._offerings.values()
        ]
        drivers = {fake.facts.name: SeamDriver(fake, seams) for fake in fakes}
        cache = ObjectCache(store)
        await cache.start()
        self.link = FakeLink(self.machines, clock=clock)
        pools, nodes = pool_facts(cache, self.link, python=PYTHON), CachedNodes(cache)
        self.queue = DurableQueue(store, clock=clock, ids=self.ids, pools=pools, nodes=nodes)
        await self.queue.recover()
        self.link.serve(self.queue, lambda node_uid: _holder(cache, node_uid))
        self.bootstrapper = bootstrapper = FakeBootstrapper(self.machines)
        listings = Listings(drivers, store.installation, clock, self.ids)
        built = build(
            Deps(
                store=store,
                cache=cache,
                listings=listings,
                drivers=drivers,
                bootstrapper=bootstrapper,
                link=self.link,
                credentials=self.credentials,
                queue=self.queue,
                clock=clock,
                ids=self.ids,
                endpoint=lambda: "127.0.0.1:1",
                ca_pem="CA",
                agent_file=b"agent",
                authorized_key="ssh-ed25519 AAAA operator",
                python=PYTHON,
                render=lambda node: ("true", ("agent",)),
                durations=Durations(),
                ceilings=self.ceilings,
                leadership=leadership,
            )
        )
        self.controllers = tuple(one for one in built if isinstance(one, Controller))
        components: list[Component] = [
            leadership,
            Named("bootstrapper", bootstrapper.run),
            Named("link", self.link.run),
            Named("listings", listings.run),
            *built,
            *self._intake(store, clock),
        ]
        try:
            await run_all(components, clock)
        finally:
            cache.stop()

    def _intake(self, store: Store, clock: SteadyClock) -> list[Component]:
        if not self._with_intake:
            return []
        source = DirectorySource(MANIFESTS, store=store, files=self.files, clock=clock, ids=self.ids, threaded=False)
        return [Named("intake", source.run)]

    # --- what users do ---

    def save(self, file: str, text: str) -> None:
        """Save a manifest in the watched directory (stories with intake)."""
        self.files.put(str(MANIFESTS / file), text)

    async def write(self, work: Callable[[Transaction], object]) -> None:
        await self.store.run(work)

    async def apply(self, name: str = "hello", nodes: int = 2, **spec: Any) -> None:
        """What intake does with a manifest: a new pool, or a new generation of the one there is."""
        wanted = make_pool(name, nodes, uid=self.ids.uid(), created_at=self.clock.now(), **spec)

        def work(tx: Transaction) -> None:
            old = tx.get(Pool, wanted.key)
            if old is None:
                tx.put(wanted)
            elif old.spec != wanted.spec:
                metadata = old.metadata.replace(generation=old.metadata.generation + 1)
                tx.put(old.replace(spec=wanted.spec, metadata=metadata))

        await self.write(work)

    async def annotate(self, name: str, annotation: str, value: str) -> None:
        def work(tx: Transaction) -> None:
            pool = tx.get(Pool, f"default/{name}")
            assert pool is not None
            annotations = {**pool.metadata.annotations, annotation: value}
            tx.put(pool.replace(metadata=pool.metadata.replace(annotations=annotations)))

        await self.write(work)

    async def delete(self, kind: type[Pool] | type[Node], key: str) -> None:
        def work(tx: Transaction) -> None:
            found = tx.get(kind, key)
            assert found is not None
            leaving = found.metadata.replace(deletion_timestamp=to_time(self.clock.now()))
            tx.put(found.replace(metadata=leaving))

        await self.write(work)

    async def submit(self, items: int, pool: str = "default/hello", mode: str = "map") -> str:
        """A task of so many items; its uid."""
        self._submitted += 1
        key = f"key-{self._submitted}"
        digest = hashlib.sha256(b"function").hexdigest()
        await self.queue.put_function(digest, b"function")
        payloads = tuple(b"%d" % number for number in range(items))
        accepted = await self.queue.submit(Submission(key, "tester", pool, mode, digest, "fn", payloads, PYTHON))
        return accepted.task

    async def task(self, uid: str) -> Task:
        return next(task for task in await self.queue.tasks() if task.metadata.uid == uid)

    async def is_done(self, uid: str) -> bool:
        items = (await self.task(uid)).status.items
        return not items.queued and not items.running

    # --- what can be seen ---

    async def pools(self) -> tuple[Pool, ...]:
        return await self.store.read(lambda tx: tx.list(Pool))

    async def pool(self, name: str = "hello") -> Pool:
        found = await self.store.read(lambda tx: tx.get(Pool, f"default/{name}"))
        assert found is not None, f"there is no pool {name}"
        return found

    async def nodes(self) -> tuple[Node, ...]:
        return await self.store.read(lambda tx: tx.list(Node))

    async def events(self) -> tuple[Event, ...]:
        return await self.store.read(lambda tx: tx.list(Event))

    async def launches(self) -> tuple[Launch, ...]:
        return await self.store.read(lambda tx: tx.launches())

    async def version(self) -> int:
        return await self.store.read(lambda tx: tx.version())

    async def is_settled(self, name: str = "hello") -> bool:
        """As desired, and nothing of what was before is left."""
        pool = await self.pool(name)
        nodes = [node for node in await self.nodes() if node.spec.pool_uid == pool.metadata.uid]
        live = [node for node in nodes if not node.status.failure]
        return (
            pool.status.observed_generation == pool.metadata.generation
            and is_true(pool.status.conditions, PoolCondition.READY)
            and len(live) == pool.spec.nodes
            and all(is_true(node.status.conditions, NodeCondition.READY) for node in live)
            and len(self.cloud.of_pool(pool.metadata.uid)) == pool.spec.nodes
        )

    async def is_gone(self) -> bool:
        """Nothing is left but tombstones."""
        kept = [launch for launch in await self.launches() if not launch.gone_at]
        return not (await self.pools() or await self.nodes() or kept or self.ours())

    async def lacks(self, node_uid: str) -> bool:
        """The node is gone, or only the record of its failure is left."""
        return all(node.metadata.uid != node_uid or is_gone(node) for node in await self.nodes())

    async def lacks_pool(self, name: str) -> bool:
        return all(pool.metadata.name != name for pool in await self.pools())

    async def pool_is(self, name: str, type_: str, expected: str) -> bool:
        return condition(await self.pool(name), type_) == expected

    async def lacks_instances_that_are_gone(self) -> bool:
        """No node still believes in a machine that is gone."""
        return all(is_gone(node) or node.status.provider_id in self.cloud.alive for node in await self.nodes())

    def most_machines(self) -> int:
        """Most machines of one pool that ever existed at once."""
        return max(self.cloud.peak.values())

    async def has_no_machines(self) -> bool:
        return not self.ours()

    def is_serving(self, node: Node) -> bool:
        """As a task would see it, whatever the record says."""
        session = self.link.session(node.metadata.uid)
        leaving = node.metadata.deletion_timestamp is not None
        return session is not None and session.connected and session.ready and not leaving

    def time(self) -> str:
        return to_time(self.clock.now()).isoformat()

    def ours(self) -> list[str]:
        return [key for key, machine in self.cloud.alive.items() if machine.owner == self.store.installation]

    async def until(self, claim: Callable[[], Awaitable[bool]], within_s: float = 600.0, every_s: float = 0.5) -> None:
        end = self.clock.now() + within_s
        while not await claim():
            self._operator_lives()
            assert self.clock.now() < end, await self.describe()
            await asyncio.sleep(every_s)

    async def settled(self, name: str = "hello", within_s: float = 600.0) -> None:
        await self.until(lambda: self.is_settled(name), within_s)

    async def describe(self) -> str:
        lines = ["the world did not come to where it should be:"]
        for pool in await self.pools():
            lines.append(f"{pool.key} wants {pool.spec.nodes}, {pool.metadata.deletion_timestamp=}")
            lines += [f"    {c.type}={c.status} {c.reason} {c.message}" for c in pool.status.conditions]
        for node in await self.nodes():
            status = node.status
            lines.append(
                f"{node.key} launch={status.launch[:8]} id={status.provider_id} failure={status.failure!r} "
                f"leaving={node.metadata.deletion_timestamp}"
            )
            lines += [f"    {c.type}={c.status} {c.reason} {c.message}" for c in status.conditions]
        lines += [f"launch {one.id[:8]} {one.state} {one.attempts} {one.message}" for one in await self.launches()]
        lines += [str(machine) for machine in self.cloud.alive.values()]
        return "\n".join(lines)

    # --- checks that hold at every instant ---

    def _commit(self, launches: tuple[Launch, ...]) -> None:
        self.commits += 1
        self._launches = {launch.id: launch for launch in launches}

    def _intent_is_committed(self, request: LaunchRequest) -> None:
        launch = self._launches.get(request.launch)
        assert launch is not None, "a create call without its intent on record"
        assert launch.state is LaunchState.SENT
        assert launch.request == request

    def _operator_lives(self) -> None:
        if self.operator is not None and self.operator.done():
            self.operator.result()


def _holder(cache: ObjectCache, node_uid: str) -> Holder | None:
    node = cache.node_by_uid(node_uid)
    if node is None:
        return None
    return Holder(node_uid, node.metadata.name, f"{node.metadata.namespace}/{node.spec.pool}", "")


def run_world(
    scenario: Callable[[World], Awaitable[None]],
    seed: int = 0,
    *,
    driver: dict[str, Any] | None = None,
    cloud: dict[str, Any] | None = None,
    with_intake: bool = False,
    offerings: Mapping[str, tuple[Offering, ...]] | None = None,
) -> None:
    """Run one story from an empty world to its end."""
    clock = FakeClock()

    async def main() -> None:
        world = World(seed, clock, driver=driver or {}, cloud=cloud or {}, with_intake=with_intake, offerings=offerings)
        try:
            await scenario(world)
        finally:
            if world.operator is not None:
                await world.kill()
            await world.store.close()

    run_virtual(main(), clock)


def condition(pool: Pool | Node, type_: str) -> str:
    found = find(pool.status.conditions, type_)
    return f"{found.status}/{found.reason}" if found is not None else "absent"
