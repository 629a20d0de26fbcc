"""The wiring: which real thing stands behind each contract, and in which order the rooms start and stop."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog

from skyward import controllers
from skyward.api import ImageSpec, Node
from skyward.apiserver.server import ApiServer
from skyward.bootstrap.agent_file import build_agent_file
from skyward.bootstrap.bootstrapper import SshBootstrapper
from skyward.client.config import ClientConfig, render_config
from skyward.contracts import PoolFacts
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
    if not settings.manifests.is_dir():
        raise UserError(f"there is no directory {settings.manifests}: make it, or name another with --manifests")
    clock, ids, files = SystemClock(), SystemIds(), SystemFiles()
    store = open_store(settings.state, clock=clock, ids=ids)
    try:
        keys = load_keys(settings.state / "keys", files, ids, clock.now())
        await _serve(settings, _World(clock, ids, files, store, keys))
    finally:
        await store.close()


async def _serve(settings: Settings, world: _World) -> None:
    clock, ids, store, keys = world.clock, world.ids, world.store, world.keys
    credentials = StoreCredentials(store, clock, ids)
    await credentials.add_user("admin", keys.token)
    cache = ObjectCache(store)
    await cache.start()
    drivers = {"local": _local_driver(settings, world)}
    listings = Listings(drivers, store.installation, clock, ids)

    # The queue asks about pools, the answer needs the gateway's sessions, and the gateway serves the queue.
    def directory(key: str) -> PoolFacts | None:
        return pool_facts(cache, gateway, python=PYTHON)(key)

    queue = DurableQueue(store, clock=clock, ids=ids, pools=directory)
    await queue.recover()
    output = MemoryOutputLog()
    context: ssl.SSLContext = keys.server_context()
    host, port = split_address(settings.tasks)
    gateway = Gateway(
        queue=queue,
        credentials=credentials,
        output=output,
        clock=clock,
        host=host,
        port=port,
        ssl_context=context,
        node_name=_node_names(cache),
        installation=store.installation,
        lost_after_s=settings.controllers.agent_lease_s,
    )
    source = DirectorySource(
        settings.manifests,
        store=store,
        files=world.files,
        clock=clock,
        ids=ids,
        poll_s=settings.intake.poll_s,
        absence_s=settings.intake.absence_s,
    )
    host, port = split_address(settings.listen)
    apiserver = ApiServer(
        store=store,
        writer=source,
        queue=queue,
        output=output,
        credentials=credentials,
        clock=clock,
        host=host,
        port=port,
        ssl_context=context,
    )
    bootstrapper = SshBootstrapper(
        client_key=keys.ssh_private, task_endpoint=lambda: _join(gateway.address), clock=clock, ids=ids
    )
    deps = controllers.Deps(
        store=store,
        cache=cache,
        listings=listings,
        drivers=drivers,
        bootstrapper=bootstrapper,
        link=gateway,
        credentials=credentials,
        queue=queue,
        clock=clock,
        ids=ids,
        endpoint=lambda: _join(gateway.address),
        ca_pem=keys.ca_pem,
        agent_file=build_agent_file(),
        authorized_key=keys.ssh_public,
        python=PYTHON,
        render=_render,
        durations=controllers.Durations(
            resync_s=settings.controllers.resync_s,
            create_timeout_s=settings.controllers.create_timeout_s,
            lease_s=settings.controllers.agent_lease_s,
        ),
        workers=settings.controllers.workers,
    )
    components: list[Component] = [
        Named("gateway", gateway.run),
        Named("bootstrap", bootstrapper.run),
        Named("listings", listings.run),
        *controllers.build(deps),
        Named("intake", source.run),
        Named("apiserver", apiserver.run),
        Named("announcement", _announcement(settings, world, gateway, apiserver)),
    ]
    try:
        await run_all(components, clock)
    finally:
        cache.stop()


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
        )
        world.files.write(path, render_config(config).encode())
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


def _join(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
