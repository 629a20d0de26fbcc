"""The HTTP server: one TLS listener for kubectl, skyctl and the SDK's object calls."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import structlog
from aiohttp import web

from skyward.apiserver.asking import MAX_BODY_BYTES
from skyward.apiserver.auth import Gate
from skyward.apiserver.discovery import Discovery
from skyward.apiserver.items import Items
from skyward.apiserver.nodes import NodeWrites
from skyward.apiserver.offers import Offers
from skyward.apiserver.openapi import OpenApi
from skyward.apiserver.outputs import Outputs
from skyward.apiserver.pools import PoolWrites
from skyward.apiserver.reads import Reads
from skyward.apiserver.resources import Resource, build_resources
from skyward.apiserver.revisions import Revisions
from skyward.apiserver.routes import Handlers, build_routes
from skyward.apiserver.sources import SourceWrites
from skyward.apiserver.watches import Watches
from skyward.apiserver.why import Why
from skyward.apiserver.writes import Writes
from skyward.contracts import Clock, Credentials, ManifestWriter, OutputLog, Store, TaskQueue
from skyward.kit.catalog import Catalog

log = structlog.get_logger()
_SHUTDOWN_S = 0.3
"""Requests in flight get so long at the end; watches and logs are cut."""
_DISTRIBUTION = "skyward-operator"


class ApiServer:
    """Serves until cancelled. `ssl_context` of None means plain HTTP, which clients accept from tests only. `catalog` is the
    controllers' own: so cool-downs are shown, and no driver is asked twice."""

    def __init__(
        self,
        *,
        store: Store,
        writer: ManifestWriter,
        queue: TaskQueue,
        output: OutputLog,
        credentials: Credentials,
        clock: Clock,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None,
        catalog: Catalog | None = None,
    ) -> None:
        self._catalog = catalog or Catalog({}, clock)
        self._store = store
        self._writer = writer
        self._queue = queue
        self._output = output
        self._credentials = credentials
        self._clock = clock
        self._host = host
        self._port = port
        self._ssl_context = ssl_context
        self._address: tuple[str, int] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; known once `run` called `ready`."""
        if self._address is None:
            raise RuntimeError("the API server does not listen yet")
        return self._address

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled; then stop within 2 s."""
        runner = web.AppRunner(self._application(), access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port, ssl_context=self._ssl_context)
            await site.start()
            host, port = runner.addresses[0][:2]
            self._address = (host, port)
            log.info("serving api", address=f"{host}:{port}")
            ready()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        gate = Gate(self._credentials)
        app = web.Application(middlewares=[gate.refuse, gate.admit], client_max_size=MAX_BODY_BYTES)
        resources = build_resources(self._store, self._queue, self._clock)
        for method, path, handler in build_routes(resources, self._handlers(resources)):
            app.router.add_route(method, path, handler)
        return app

    def _handlers(self, resources: tuple[Resource, ...]) -> Handlers:
        feeds = {resource.plural: resource.feed for resource in resources}
        watches = Watches(self._queue, self._clock)
        return Handlers(
            reads=Reads(self._queue, self._clock, watches),
            writes=Writes(
                PoolWrites(feeds["pools"], self._writer),
                NodeWrites(self._store, self._clock),
                SourceWrites(self._store),
                self._queue,
            ),
            why=Why(self._store, self._queue),
            revisions=Revisions(self._store),
            items=Items(self._queue),
            offers=Offers(self._catalog, self._clock),
            outputs=Outputs(self._output, f"{self._clock.now():.3f}"),
            discovery=Discovery(resources, _version()),
            openapi=OpenApi(resources),
        )


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "0"
