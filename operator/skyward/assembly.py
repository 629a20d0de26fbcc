"""The wiring: which real thing stands behind each contract, and in which order the rooms start and stop."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog

from skyward import controllers
from skyward.api import ImageSpec, Node
from skyward.api.providers import LOCAL
from skyward.apiserver.server import ApiServer
from skyward.blobs.opening import opened_blobs
from skyward.bootstrap.agent_file import build_agent_file, digest_of
from skyward.bootstrap.bootstrapper import SshBootstrapper
from skyward.client.config import ClientConfig, render_config
from skyward.contracts import Blobs, Credentials, ManifestWriter, OutputLog, PoolFacts, TaskQueue
from skyward.drivers.local.driver import LocalDriver
from skyward.errors import UserError
from skyward.facts import Ceilings
from skyward.gateway.agents import AgentFile
from skyward.gateway.gateway import Gateway
from skyward.gateway.output import MemoryOutputLog
from skyward.intake.holding import HoldLimits
from skyward.intake.snapshot import MARKER
from skyward.intake.source import DirectorySource
from skyward.kit.cache import ObjectCache
from skyward.kit.catalog import Catalog
from skyward.kit.directory import CachedNodes, pool_facts
from skyward.kit.leadership import Leadership
from skyward.kit.lifecycle import Component, Named, run_all
from skyward.kit.listings import Listings
from skyward.kit.steady import SteadyClock
from skyward.queue.queue import DurableQueue
from skyward.recipes import build_recipe
from skyward.settings import Settings, split_address
from skyward.store.credentials import StoreCredentials
from skyward.store.identity import known_installation
from skyward.store.store import DATABASE, SqlStore, open_store
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.files import SystemFiles
from skyward.system.guard import forbid_unpickling
from skyward.system.keys import Keys, load_keys
from skyward.system.processes import SystemProcesses

_log = structlog.get_logger()

_COLLECT_AFTER = (10_000, 10, 20)
"""Allocations, and rounds of the younger generation, after which the garbage collector looks through each generation."""
PYTHON = ".".join(platform.python_version_tuple()[:2])
"""The operator's own minor version: what nodes run when a pool says nothing."""


@dataclass(frozen=True, slots=True)
class _World:
    clock: SteadyClock
    ids: SystemIds
    files: SystemFiles
    store: SqlStore
    keys: Keys
    leadership: Leadership


async def operate(settings: Settings) -> None:
    """Serve until cancelled. Raises StateDirectoryInUse and other UserErrors before anything was changed."""
    # The writer's thread gets its turn sooner while the event loop is busy: measured 890 → 2,380 commits a second.
    sys.setswitchinterval(0.0005)
    forbid_unpickling()
    if not settings.manifests.is_dir():
        raise UserError(f"there is no directory {settings.manifests}: make it, or name another with --manifests")
    ids, files = SystemIds(), SystemFiles()
    clock = SteadyClock(SystemClock())
    await _check_takes_nothing_over(settings, clock, ids)
    store = open_store(settings.state, clock=clock, ids=ids, installation=settings.installation)
    try:
        _check_free("--listen", settings.listen)
        _check_free("--tasks", settings.tasks)
        clock.go_on_from(store.newest_time())
        keys = load_keys(settings.state / "keys", files, ids, clock.now())
        holder = f"{socket.gethostname()} {os.getpid()} {ids.suffix()}"
        leadership = Leadership(store, clock, holder=holder, is_exclusive=store.is_exclusive)
        await leadership.acquire()
        await _serve(settings, _World(clock, ids, files, store, keys, leadership))
    finally:
        await store.close()


async def _check_takes_nothing_over(settings: Settings, clock: SteadyClock, ids: SystemIds) -> None:
    """A new state directory beside manifests of another installation: when that one's instances are there, its records are
    lost, and who pays for them must be asked. Raises UserError."""
    try:
        marker = SystemFiles().read(settings.manifests / MARKER, 200).decode(errors="replace").strip()
    except OSError:
        return  # intake says what is wrong with the directory
    is_new = known_installation(settings.state) is None and not (settings.state / DATABASE).exists()
    if not marker or not is_new or settings.installation is not None:
        return
    driver = _local_driver(settings, clock, ids)
    left = (await driver.list(marker)).instances
    if left:
        names = ", ".join(instance.id for instance in left[:3]) + (", …" if len(left) > 3 else "")
        count = f"{len(left)} {'instance' if len(left) == 1 else 'instances'}"
        raise UserError(
            f"{settings.manifests / MARKER} names installation {marker}, which left {count} ({names}), and "
            f"{settings.state} holds nothing of it: restore its state directory, or take it over with "
            f"SKYWARD_INSTALLATION={marker} and an empty state directory, or remove {MARKER} to leave them alone"
        )


async def _serve(settings: Settings, world: _World) -> None:
    """To be called by who leads."""
    cache = ObjectCache(world.store)
    await cache.start()
    # What was read so far stays: a full collection would go through all of it, 0.4 s in one go with ten thousand nodes.
    gc.freeze()
    # Tasks that wait live long: looked through as often as by default, they would double what a submit costs.
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        root, proof = settings.state / "payloads", world.ids.token()
        async with opened_blobs(root, settings.payloads, clock=world.clock, proof=proof) as blobs:
            await run_all(await _components(settings, world, cache, blobs), world.clock)
    finally:
        cache.stop()


async def _components(settings: Settings, world: _World, cache: ObjectCache, blobs: Blobs) -> list[Component]:
    """Everything that runs, in the order of its start: what others call comes before them, what users call comes last."""
    credentials = StoreCredentials(world.store, world.clock, world.ids)
    await credentials.add_user("admin", world.keys.token)
    output = MemoryOutputLog(now=world.clock.now)
    queue, gateway = await _task_side(settings, world, cache, blobs, credentials, output)
    source = _source(settings, world)
    bootstrapper = SshBootstrapper(
        client_key=world.keys.ssh_private,
        task_endpoint=lambda: _join(gateway.address),
        clock=world.clock,
        ids=world.ids,
    )
    drivers = {LOCAL: _local_driver(settings, world.clock, world.ids)}
    listings = Listings(drivers, world.store.installation, world.clock, world.ids)
    catalog = Catalog(drivers, world.clock)
    apiserver = _apiserver(settings, world, source, queue, output, credentials, catalog)
    deps = controllers.Deps(
        store=world.store,
        cache=cache,
        listings=listings,
        drivers=drivers,
        bootstrapper=bootstrapper,
        link=gateway,
        credentials=credentials,
        queue=queue,
        clock=world.clock,
        ids=world.ids,
        endpoint=lambda: _join(gateway.address),
        ca_pem=world.keys.ca_pem,
        agent_file=build_agent_file(),
        authorized_key=world.keys.ssh_public,
        python=PYTHON,
        render=_render,
        durations=_durations(settings),
        ceilings=Ceilings(**settings.controllers.ceilings.model_dump()),
        creates_at_once=settings.controllers.creates_at_once,
        workers=settings.controllers.workers,
        catalog=catalog,
        leadership=world.leadership,
    )
    return [
        world.leadership,
        Named("gateway", gateway.run),
        Named("bootstrap", bootstrapper.run),
        Named("listings", listings.run),
        *controllers.build(deps),
        Named("intake", source.run),
        Named("apiserver", apiserver.run),
        Named("announcement", _announcement(settings, world, gateway, apiserver)),
    ]


async def _task_side(
    settings: Settings,
    world: _World,
    cache: ObjectCache,
    blobs: Blobs,
    credentials: StoreCredentials,
    output: MemoryOutputLog,
) -> tuple[DurableQueue, Gateway]:
    # The queue asks about pools, the answer needs the gateway's sessions, and the gateway serves the queue.
    def directory(key: str) -> PoolFacts | None:
        return find_pool(key)

    nodes = CachedNodes(cache)
    queue = DurableQueue(world.store, clock=world.clock, ids=world.ids, pools=directory, nodes=nodes)
    await queue.recover()
    host, port = split_address(settings.tasks)
    gateway = Gateway(
        queue=queue,
        credentials=credentials,
        output=output,
        clock=world.clock,
        host=host,
        port=port,
        ssl_context=world.keys.server_context(),
        node_name=_node_names(cache),
        installation=world.store.installation,
        blobs=blobs,
        agent_file=AgentFile(digest_of(build_agent_file()), build_agent_file()),
        lost_after_s=settings.controllers.agent_lease_s,
    )
    find_pool = pool_facts(cache, gateway, python=PYTHON)
    return queue, gateway


def _source(settings: Settings, world: _World) -> DirectorySource:
    return DirectorySource(
        settings.manifests,
        store=world.store,
        files=world.files,
        clock=world.clock,
        ids=world.ids,
        poll_s=settings.intake.poll_s,
        absence_s=settings.intake.absence_s,
        limits=_hold_limits(settings),
    )


def _hold_limits(settings: Settings) -> HoldLimits:
    chosen = settings.intake
    return HoldLimits(chosen.hold_pools, chosen.hold_share, chosen.hold_nodes)


def _apiserver(
    settings: Settings,
    world: _World,
    writer: ManifestWriter,
    queue: TaskQueue,
    output: OutputLog,
    credentials: Credentials,
    catalog: Catalog,
) -> ApiServer:
    host, port = split_address(settings.listen)
    return ApiServer(
        store=world.store,
        writer=writer,
        queue=queue,
        output=output,
        credentials=credentials,
        clock=world.clock,
        host=host,
        port=port,
        ssl_context=world.keys.server_context(),
        catalog=catalog,
    )


def _durations(settings: Settings) -> controllers.Durations:
    chosen = settings.controllers
    return controllers.Durations(
        resync_s=chosen.resync_s, create_timeout_s=chosen.create_timeout_s, lease_s=chosen.agent_lease_s
    )


def _local_driver(settings: Settings, clock: SteadyClock, ids: SystemIds) -> LocalDriver:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    return LocalDriver(
        settings.state / "local",
        processes=SystemProcesses(),
        clock=clock,
        ids=ids,
        python=sys.executable,
        uv_dir=str(Path(uv).parent) if uv else "",
        cache=settings.cache,
        environment=os.environ,
    )


def _node_names(cache: ObjectCache) -> Callable[[str], tuple[str, str] | None]:
    """From a node's uid to its name and its pool's key."""

    def find(uid: str) -> tuple[str, str] | None:
        node = cache.node_by_uid(uid)
        if node is None:
            return None
        return node.metadata.name, f"{node.metadata.namespace}/{node.spec.pool}"

    return find


def _render(node: Node) -> tuple[str, tuple[str, ...]]:
    """The script of a node and its steps, from the template that the node was planned with."""
    image = ImageSpec.model_validate(node.spec.template.get("image", {}))
    recipe = build_recipe(image, python=image.python or PYTHON, provider=node.status.provider or "local")
    return recipe.script, tuple(step.id for step in recipe.steps)


def _announcement(
    settings: Settings, world: _World, gateway: Gateway, apiserver: ApiServer
) -> Callable[[Callable[[], None]], Awaitable[None]]:
    """Once both listeners accept: write the client configuration, by rename, and say where everything is."""

    async def run(ready: Callable[[], None]) -> None:
        path = settings.kubeconfig or settings.state / "kubeconfig"
        config = ClientConfig(
            server=f"https://{_join(apiserver.address)}",
            tasks=_join(gateway.address),
            ca_pem=world.keys.ca_pem,
            token=world.keys.token,
            namespace="default",
            path=path,
            state=settings.state,
        )
        try:
            world.files.write(path, render_config(config).encode())
        except OSError as error:
            message = f"{path} cannot be written ({error.strerror}): name another file with --kubeconfig"
            raise UserError(message) from error
        _log.info(
            "operator ready",
            version=version("skyward-operator"),
            manifests=str(settings.manifests),
            state=str(settings.state),
            server=config.server,
            tasks=config.tasks,
            kubeconfig=str(path),
        )
        ready()
        await asyncio.Event().wait()

    return run


def _check_free(option: str, address: str) -> None:
    """Before anything is changed: that we may listen there. Raises UserError."""
    host, port = split_address(address)
    try:
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UserError(f"cannot listen on {address} ({why}): choose another address with {option}") from error


def _join(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
