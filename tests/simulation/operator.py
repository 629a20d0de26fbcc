"""The operator as production assembles it, with the simulated world behind every contract."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from skyward.contracts import PoolFacts
from skyward.controllers import Deps, build
from skyward.controllers.deps import Durations
from skyward.documents import parse_file
from skyward.gateway.gateway import Gateway
from skyward.gateway.output import MemoryOutputLog
from skyward.intake import DirectorySource
from skyward.kit.cache import ObjectCache
from skyward.kit.controller import Controller
from skyward.kit.directory import CachedNodes, pool_facts
from skyward.kit.leadership import Leadership
from skyward.kit.lifecycle import Component, Named, run_all
from skyward.kit.listings import Listings
from skyward.kit.steady import SteadyClock
from skyward.queue import DurableQueue
from skyward.store import StoreCredentials
from tests.simulation.agent import HEARTBEAT_S
from tests.simulation.bootstrap import SimBootstrapper
from tests.simulation.driver import SimDriver
from tests.simulation.history import WatchedQueue
from tests.simulation.process import Process
from tests.simulation.storing import SimStore

if TYPE_CHECKING:
    from tests.simulation.world import World

PYTHON = "3.11"
_parse = lru_cache(1_000)(parse_file)
"""Parsing is slow and has no memory: what one process made of some bytes, the next one may have."""
MANIFESTS = Path("/manifests")


class Operator:
    """What one process runs. `serve` ends only by being cancelled."""

    def __init__(self, world: World, process: Process) -> None:
        self.process = process
        self.wall = world.wall_clock()
        """Its host's clock, which somebody may set."""
        self.clock = SteadyClock(self.wall)
        self.leads = False
        self.serves = False
        """It has started as a whole."""
        self.controllers: tuple[Controller, ...] = ()
        self._world = world
        self.store = SimStore(
            world.database,
            process,
            clock=self.clock,
            ids=world.ids,
            faults=world.faults,
            chance=world.chance,
            committed=world.committed,
            is_full=lambda: world.disk_is_full,
            refused=lambda: world.coverage.reach("commit refused by a full disk"),
        )
        self.queue: DurableQueue | None = None
        self.source: DirectorySource | None = None

    async def serve(self) -> None:
        world, store, clock = self._world, self.store, self.clock
        clock.go_on_from(store.newest_time())
        leadership = Leadership(
            store, clock, holder=f"operator {self.process.number}", is_exclusive=world.scenario.operators == 1
        )
        await leadership.acquire()
        self.leads = True
        cache = ObjectCache(store)
        await cache.start()
        providers = world.cloud.profile.providers
        drivers = {name: SimDriver(world.network, self.process, clock, name) for name in providers}
        credentials = StoreCredentials(store, clock, world.ids)
        queue, gateway = self._task_side(cache, credentials)
        await queue.recover()
        self.queue = queue
        bootstrapper = SimBootstrapper(world, self.process)
        listings = Listings(drivers, store.installation, clock, world.ids)
        built = build(
            Deps(
                store=store,
                cache=cache,
                listings=listings,
                drivers=drivers,
                bootstrapper=bootstrapper,
                link=gateway,
                credentials=credentials,
                queue=queue,
                clock=clock,
                ids=world.ids,
                endpoint=lambda: "127.0.0.1:1",
                ca_pem="CA",
                agent_file=b"agent",
                authorized_key="ssh-ed25519 AAAA operator",
                python=PYTHON,
                render=lambda node: ("true", ("agent",)),
                durations=Durations(bootstrap_s=world.scenario.bootstrap_s),
                ceilings=world.ceilings,
                leadership=leadership,
            )
        )
        self.controllers = tuple(one for one in built if isinstance(one, Controller))
        self.source = DirectorySource(
            MANIFESTS,
            store=store,
            files=world.files_of(self.process),
            clock=clock,
            ids=world.ids,
            threaded=False,
            parse=_parse,
        )
        components: list[Component] = [
            leadership,
            Named("gateway", gateway.run),
            Named("bootstrap", bootstrapper.run),
            Named("listings", listings.run),
            *built,
            Named("intake", self.source.run),
            Named("the rest", self._serve_on),
        ]
        await run_all(components, clock)

    async def _serve_on(self, ready: Callable[[], None]) -> None:
        self.serves = True
        ready()
        await asyncio.Event().wait()

    def _task_side(self, cache: ObjectCache, credentials: StoreCredentials) -> tuple[DurableQueue, Gateway]:
        def directory(key: str) -> PoolFacts | None:
            return find_pool(key)

        world = self._world
        nodes = CachedNodes(cache)
        queue = WatchedQueue(
            self.store,
            history=world.history,
            process=self.process.number,
            clock=self.clock,
            ids=world.ids,
            pools=directory,
            nodes=nodes,
        )
        gateway = Gateway(
            queue=queue,
            credentials=credentials,
            output=MemoryOutputLog(),
            clock=self.clock,
            host="127.0.0.1",
            port=0,
            ssl_context=cast(ssl.SSLContext, None),
            node_name=lambda uid: _name_of(cache, uid),
            installation=self.store.installation,
            heartbeat_s=HEARTBEAT_S,
            lost_after_s=Durations().lease_s,
        )
        find_pool = pool_facts(cache, gateway, python=PYTHON)
        return queue, gateway


def _name_of(cache: ObjectCache, node_uid: str) -> tuple[str, str] | None:
    node = cache.node_by_uid(node_uid)
    return None if node is None else (node.metadata.name, f"{node.metadata.namespace}/{node.spec.pool}")
