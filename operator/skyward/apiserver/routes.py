"""The routes table: which handler answers which path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from aiohttp import web

from skyward.api import GROUP, VERSION
from skyward.apiserver.asking import RESOURCE
from skyward.apiserver.auth import PROBES, Handler
from skyward.apiserver.discovery import Discovery
from skyward.apiserver.items import Items
from skyward.apiserver.offers import Offers
from skyward.apiserver.openapi import OpenApi
from skyward.apiserver.outputs import Outputs
from skyward.apiserver.reads import Reads
from skyward.apiserver.refusals import not_allowed
from skyward.apiserver.resources import Resource
from skyward.apiserver.revisions import Revisions
from skyward.apiserver.why import Why
from skyward.apiserver.writes import Writes

Route = tuple[str, str, Handler]
ResourceHandler = Callable[[Resource, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Handlers:
    reads: Reads
    writes: Writes
    outputs: Outputs
    why: Why
    revisions: Revisions
    items: Items
    offers: Offers
    discovery: Discovery
    openapi: OpenApi


def build_routes(resources: Sequence[Resource], handlers: Handlers) -> Iterator[Route]:
    for path in PROBES:
        yield "GET", path, _ok
    discovery = handlers.discovery
    documents = {
        "/version": discovery.version,
        "/api": discovery.core,
        "/api/v1": discovery.core_resources,
        "/apis": discovery.groups,
        f"/apis/{GROUP}": discovery.group,
        f"/apis/{GROUP}/{VERSION}": discovery.group_resources,
    }
    for path, handler in documents.items():
        yield "GET", path, handler
        yield "GET", f"{path}/", handler
    yield "GET", "/openapi/v2", handlers.openapi.legacy
    yield "GET", "/openapi/v3", handlers.openapi.index
    yield "GET", "/openapi/v3/{path:.+}", handlers.openapi.document
    yield "GET", f"/apis/{GROUP}/{VERSION}/offerings", handlers.offers.everything
    yield "POST", f"/apis/{GROUP}/{VERSION}/offerings", handlers.offers.of_manifest
    for resource in resources:
        yield from _resource_routes(resource, handlers)


def _resource_routes(resource: Resource, handlers: Handlers) -> Iterator[Route]:
    reads, writes = handlers.reads, handlers.writes
    everywhere = f"{resource.prefix}/{resource.plural}"
    collection = f"{resource.prefix}/namespaces/{{namespace}}/{resource.plural}"
    if resource.is_namespaced:
        yield "GET", everywhere, _bound(resource, reads.collection)
    else:
        collection = everywhere
    item = f"{collection}/{{name}}"
    by_verb: dict[str, tuple[str, str, ResourceHandler]] = {
        "list": ("GET", collection, reads.collection),
        "get": ("GET", item, reads.item),
        "create": ("POST", collection, writes.create),
        "update": ("PUT", item, writes.replace),
        "patch": ("PATCH", item, writes.patch),
        "delete": ("DELETE", item, writes.delete),
    }
    for verb, (method, path, handler) in by_verb.items():
        if verb in resource.verbs:
            yield method, path, _bound(resource, handler)
    if "status" in resource.subresources:
        yield "GET", f"{item}/status", _bound(resource, reads.item)
        for method in ("PUT", "PATCH"):
            yield method, f"{item}/status", _status_is_ours
    if "scale" in resource.subresources:
        for method in ("GET", "PUT", "PATCH"):
            yield method, f"{item}/scale", _bound(resource, writes.scale)
    if "log" in resource.subresources:
        yield "GET", f"{item}/log", _bound(resource, handlers.outputs.serve)
    if "revisions" in resource.subresources:
        yield "GET", f"{item}/revisions", _bound(resource, handlers.revisions.serve)
    if "offerings" in resource.subresources:
        yield "GET", f"{item}/offerings", _bound(resource, handlers.offers.of_pool)
    if "items" in resource.subresources:
        yield "GET", f"{item}/items", _bound(resource, handlers.items.serve)
    if "why" in resource.subresources:
        yield "GET", f"{item}/why", _bound(resource, handlers.why.serve)


def _bound(resource: Resource, handler: ResourceHandler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        request[RESOURCE] = resource
        return await handler(resource, request)

    return handle


async def _ok(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok")


async def _status_is_ours(_: web.Request) -> web.StreamResponse:
    raise not_allowed("status is written by the operator's controllers only; change the spec instead")
