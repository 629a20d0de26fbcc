"""The wiring: which real thing stands behind each contract, and in which order the rooms start and stop."""

from __future__ import annotations

import asyncio
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
from skyward.bootstrap.agent_file import build_agent_file
from skyward.bootstrap.bootstrapper import SshBootstrapper
from skyward.client.config import ClientConfig, render_config
from skyward.contracts import Credentials, ManifestWriter, OutputLog, PoolFacts, TaskQueue
from skyward.drivers.local.driver import LocalDriver
from skyward.errors import UserError
from skyward.gateway.gateway import Gateway
from skyward.gateway.output import MemoryOutputLog
from skyward.intake.source import DirectorySource
from skyward.kit.cache import ObjectCache
from skyward.kit.directory import pool_facts
from skyward.kit.lifecycle import Component, Named, run_all
from skyward.kit.listings import Listings
from skyward.queue.queue import DurableQueue
from skyward.recipes import build_recipe
from skyward.settings import Settings, split_address
from skyward.store.credentials import StoreCredentials
from skyward.store.store import SqlStore, open_store
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.files import SystemFiles
from skyward.system.guard import forbid_unpickling
from skyward.system.keys import Keys, load_keys
from skyward.system.processes import SystemProcesses

_log = structlog.get_logger()
PYTHON = ".".join(platform.python_version_tuple()[:2])
"""The operator's own minor version: what nodes run when a pool says nothing."""


@dataclass(frozen=True, slots=True)
class _World:
    clock: SystemClock
    ids: SystemIds
    files: SystemFiles
    store: SqlStore
    keys: Keys


async def operate(settings: Settings) -> None:
    """Serve until cancelled. Raises StateDirectoryInUse and other UserErrors before anything was changed."""
    # The writer's thread gets its turn sooner while the event loop is busy: measured 890 → 2,380 commits a second.
    sys.setswitchinterval(0.0005)
    forbid_unpickling()
    if not settings.manifests.is_dir():
        raise UserError(f"there is no directory {settings.manifests}: make it, or name another with --manifests")
    clock, ids, files = SystemClock(), SystemIds(), SystemFiles()
    store = open_store(settings.state, clock=clock, ids=ids)
    try:
        _check_free("--listen", settings.listen)
        _check_free("--tasks", settings.tasks)
        keys = load_keys(settings.state / "keys", files, ids, clock.now())
        await _serve(settings, _World(clock, ids, files, store, keys))
    finally:
        await store.close()


async def _serve(settings: Settings, world: _World) -> None:
    cache = ObjectCache(world.store)
    await cache.start()
    try:
        await run_all(await _components(settings, world, cache), world.clock)
    finally:
        cache.stop()


async def _components(settings: Settings, world: _World, cache: ObjectCache) -> list[Component]:
    """Everything that runs, in the order of its start: what others call comes before them, what users call comes last."""
    credentials = StoreCredentials(world.store, world.clock, world.ids)
    await credentials.add_user("admin", world.keys.token)
    output = MemoryOutputLog()
    queue, gateway = await _task_side(settings, world, cache, credentials, output)
    source = _source(settings, world)
    apiserver = _apiserver(settings, world, source, queue, output, credentials)
    bootstrapper = SshBootstrapper(
        client_key=world.keys.ssh_private,
        task_endpoint=lambda: _join(gateway.address),
        clock=world.clock,
        ids=world.ids,
    )
    drivers = {LOCAL: _local_driver(settings, world)}
    listings = Listings(drivers, world.store.installation, world.clock, world.ids)
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
        workers=settings.controllers.workers,
    )
    return [
        Named("gateway", gateway.run),
        Named("bootstrap", bootstrapper.run),
        Named("listings", listings.run),
        *controllers.build(deps),
        Named("intake", source.run),
        Named("apiserver", apiserver.run),
        Named("announcement", _announcement(settings, world, gateway, apiserver)),
    ]


async def _task_side(
    settings: Settings, world: _World, cache: ObjectCache, credentials: StoreCredentials, output: MemoryOutputLog
) -> tuple[DurableQueue, Gateway]:
    # The queue asks about pools, the answer needs the gateway's sessions, and the gateway serves the queue.
    def directory(key: str) -> PoolFacts | None:
        return find_pool(key)

    queue = DurableQueue(world.store, clock=world.clock, ids=world.ids, pools=directory)
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
    )


def _apiserver(
    settings: Settings,
    world: _World,
    writer: ManifestWriter,
    queue: TaskQueue,
    output: OutputLog,
    credentials: Credentials,
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
    )


def _durations(settings: Settings) -> controllers.Durations:
    chosen = settings.controllers
    return controllers.Durations(
        resync_s=chosen.resync_s, create_timeout_s=chosen.create_timeout_s, lease_s=chosen.agent_lease_s
    )


def _local_driver(settings: Settings, world: _World) -> LocalDriver:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    return LocalDriver(
        settings.state / "local",
        processes=SystemProcesses(),
        clock=world.clock,
        ids=world.ids,
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
