"""The operator's real parts in this process, in real time, around a cloud in memory: store on disk, intake, controllers."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog

from skyward.api import Node, Pool
from skyward.contracts import AgentLink, Bootstrapper, Credentials, TaskQueue, Transaction
from skyward.controllers import Deps, build
from skyward.facts import Ceilings
from skyward.intake import DirectorySource
from skyward.intake.holding import HoldLimits
from skyward.kit.cache import ObjectCache
from skyward.kit.controller import Controller
from skyward.kit.leadership import Leadership
from skyward.kit.lifecycle import Component, Named, run_all
from skyward.kit.listings import Listings
from skyward.kit.steady import SteadyClock
from skyward.store import SqlStore, open_store
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.files import SystemFiles
from tests.fakes.cloud import FakeCloud, FakeDriver

T = TypeVar("T")
PYTHON = "3.11"
PLENTY = 1_000_000
POLL_S = 0.02
MANIFEST = """\
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {{name: {name}}}
spec: {{nodes: {nodes}, provider: local}}
"""


class CountedStore:
    """The store, and how often it was written to. Leases are renewed beside it."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(self, work: Callable[[Transaction], T], *, power_safe: bool = False, quick: bool = False) -> T:
        self.writes += 1
        return await self._store.run(work, power_safe=power_safe, quick=quick)


class TimedDriver(FakeDriver):
    """Remembers when the first create call for each pool arrived."""

    def __init__(self, cloud: FakeCloud, **options: Any) -> None:
        super().__init__(cloud, **options)
        self.first_create: dict[str, float] = {}

    async def create(self, request: Any) -> Any:
        self.first_create.setdefault(request.pool, time.perf_counter())
        return await super().create(request)


@dataclass
class Place:
    """One operator, running until its context ends."""

    directory: Path
    cloud: FakeCloud
    clock: SteadyClock
    ids: SystemIds
    store: CountedStore
    cache: ObjectCache
    driver: TimedDriver
    link: AgentLink
    controllers: dict[str, Controller] = field(default_factory=dict)

    @property
    def manifests(self) -> Path:
        return self.directory / "manifests"

    def save(self, name: str, nodes: int) -> float:
        """One pool in a file of its own, put there by rename as editors do; returns when that was."""
        text = MANIFEST.format(name=name, nodes=nodes)
        temporary = self.manifests / f".{name}.new"
        temporary.write_text(text)
        began = time.perf_counter()
        temporary.rename(self.manifests / f"{name}.yaml")
        return began

    async def until(self, what: str, claim: Callable[[], bool], within_s: float = 120.0) -> float:
        """How long it took until that was so."""
        began = time.perf_counter()
        while not claim():
            if time.perf_counter() - began > within_s:
                raise TimeoutError(f"waited {within_s:.0f} s in vain for {what}")
            await asyncio.sleep(POLL_S)
        return time.perf_counter() - began

    def nodes(self) -> tuple[Node, ...]:
        return self.cache.list(Node)

    def pools(self) -> tuple[Pool, ...]:
        return self.cache.list(Pool)

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be reconciled."""
        return all(controller.queue.is_idle for controller in self.controllers.values())


@dataclass(frozen=True)
class Side:
    """Nodes' part of the operator: agents, their channels and credentials, and the work queue."""

    link: AgentLink
    bootstrapper: Bootstrapper
    credentials: Credentials
    queue: TaskQueue
    components: tuple[Component, ...] = ()
    endpoint: Callable[[], str] = lambda: "127.0.0.1:1"
    ca_pem: str = "CA"


MakeSide = Callable[[Any, ObjectCache, FakeCloud, SteadyClock, SystemIds], Awaitable[Side]]
Prepare = Callable[[Place], Awaitable[None]]


@asynccontextmanager
async def operator(directory: Path, cloud: FakeCloud, make_side: MakeSide, prepare: Prepare) -> AsyncIterator[Place]:
    """`prepare` fills the store while intake runs alone; then everything runs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sys.setswitchinterval(0.0005)  # as the operator does
    ids, clock = SystemIds(), SteadyClock(SystemClock())
    (directory / "manifests").mkdir()
    data = open_store(directory / "state", clock=clock, ids=ids)
    store = CountedStore(data)
    leadership = Leadership(data, clock, holder="bench", is_exclusive=True)
    await leadership.acquire()
    cache = ObjectCache(store)  # type: ignore[arg-type]
    await cache.start()
    side = await make_side(store, cache, cloud, clock, ids)
    driver = TimedDriver(cloud, clock=clock)
    place = Place(directory, cloud, clock, ids, store, cache, driver, side.link)
    source = DirectorySource(
        place.manifests, store=store, files=SystemFiles(), clock=clock, ids=ids, limits=HoldLimits(PLENTY, 1.0, PLENTY)
    )
    try:
        async with _running([leadership, Named("intake", source.run)], clock):
            await prepare(place)
            gc.freeze()  # as the operator does once it has read its records
            listings = Listings({"local": driver}, store.installation, clock, ids)
            built = build(_deps(place, side, listings, leadership))
            place.controllers = {one.name: one for one in built if isinstance(one, Controller)}
            async with _running([*side.components, Named("listings", listings.run), *built], clock):
                yield place
    finally:
        cache.stop()
        await data.close()


@asynccontextmanager
async def _running(components: list[Component], clock: SteadyClock) -> AsyncIterator[None]:
    """Ends with the error of a component that failed."""
    serving = asyncio.create_task(run_all(components, clock))
    try:
        yield
    finally:
        if serving.done():
            serving.result()
        serving.cancel()
        await asyncio.wait({serving})


def _deps(place: Place, side: Side, listings: Listings, leadership: Leadership) -> Deps:
    return Deps(
        store=place.store,  # type: ignore[arg-type]
        cache=place.cache,
        listings=listings,
        drivers={"local": place.driver},
        bootstrapper=side.bootstrapper,
        link=side.link,
        credentials=side.credentials,
        queue=side.queue,
        clock=place.clock,
        ids=place.ids,
        endpoint=side.endpoint,
        ca_pem=side.ca_pem,
        agent_file=b"agent",
        authorized_key="ssh-ed25519 AAAA bench",
        python=PYTHON,
        render=lambda node: ("true", ("agent",)),
        ceilings=Ceilings(PLENTY, PLENTY, PLENTY, PLENTY, PLENTY, PLENTY),
        leadership=leadership,
    )


def rss_mb() -> float:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


def peak_rss_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
