"""POST, PUT, PATCH and DELETE: the HTTP side of every write."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from skyward.api import Json, Object, Pool, Task, check_name
from skyward.apiserver.asking import NAME, USER, Edit, is_dry_run, member, read_json, read_object
from skyward.apiserver.edits import check_identity, read_patch, read_replacement
from skyward.apiserver.nodes import NodeWrites
from skyward.apiserver.pools import PoolWrites
from skyward.apiserver.reads import find
from skyward.apiserver.refusals import bad_request, not_allowed
from skyward.apiserver.resources import Resource
from skyward.apiserver.scales import rescaled, scale_of
from skyward.apiserver.sources import SourceWrites
from skyward.apiserver.writing import answer
from skyward.contracts import TaskQueue
from skyward.errors import Conflict, Invalid


class ObjectWrites(Protocol):
    async def update(self, namespace: str, name: str, edit: Edit, *, dry_run: bool, user: str) -> Object: ...

    async def delete(self, namespace: str, name: str, *, uid: str | None, dry_run: bool, user: str) -> Object: ...


class Writes:
    def __init__(self, pools: PoolWrites, nodes: NodeWrites, sources: SourceWrites, queue: TaskQueue) -> None:
        self._pools = pools
        self._by_plural: dict[str, ObjectWrites] = {"pools": pools, "nodes": nodes, "sources": sources}
        self._queue = queue

    async def create(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        body = await read_object(request)
        check_identity(body, resource, request)
        namespace, name = request.match_info["namespace"], member(body, "metadata").get("name")
        for field, value in (("metadata.namespace", namespace), ("metadata.name", name)):
            _check_name(field, value)
        request[NAME] = str(name)
        pool = await self._pools.create(namespace, body, dry_run=is_dry_run(request))
        return answer(resource.render(pool), status=201)

    async def replace(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        return await self._update(resource, request, await read_replacement(request, resource))

    async def patch(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        return await self._update(resource, request, await read_patch(request))

    async def _update(self, resource: Resource, request: web.Request, edit: Edit) -> web.StreamResponse:
        writes = self._by_plural[resource.plural]
        await find(resource, request)
        obj = await writes.update(*_place(request), edit, dry_run=is_dry_run(request), user=request[USER])
        return answer(resource.render(obj))

    async def delete(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        options = await _delete_options(request)
        obj = await find(resource, request)
        wanted = member(options, "preconditions")
        if wanted.get("resourceVersion") not in (None, obj.metadata.resource_version):
            raise Conflict(f"the object's resource version is {obj.metadata.resource_version} now: read it again")
        if wanted.get("uid") not in (None, obj.metadata.uid):
            raise Conflict(f"the object's uid is {obj.metadata.uid} now: it is another one of that name")
        dry_run = is_dry_run(request, options)
        if isinstance(obj, Task):
            if not dry_run:
                await self._queue.cancel(obj.metadata.uid)
            return answer(_deleted(resource, obj))
        writes = self._by_plural[resource.plural]
        gone = await writes.delete(*_place(request), uid=obj.metadata.uid, dry_run=dry_run, user=request[USER])
        return answer(resource.render(gone))

    async def scale(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        pool = await find(resource, request)
        if not isinstance(pool, Pool):
            raise not_allowed()
        if request.method == "GET":
            return answer(scale_of(pool))
        edit = await (_scale_replacement(request) if request.method == "PUT" else read_patch(request))
        changed = await self._pools.update(
            *_place(request), rescaled(edit), dry_run=is_dry_run(request), user=request[USER]
        )
        return answer(scale_of(changed))


async def _scale_replacement(request: web.Request) -> Edit:
    body = await read_object(request)
    version = member(body, "metadata").get("resourceVersion")
    return Edit(lambda _: body, version or None)


async def _delete_options(request: web.Request) -> Json:
    body = await read_json(request)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise bad_request("the request body must be DeleteOptions, or absent")
    return body


def _place(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["name"]


def _check_name(field: str, value: object) -> None:
    try:
        check_name(value if isinstance(value, str) else "")
    except ValueError as error:
        raise Invalid(f"{field}: {error}", ((field, f"Invalid value: {error}"),)) from None


def _deleted(resource: Resource, obj: Object) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": obj.metadata.name,
            "group": resource.group,
            "kind": resource.plural,
            "uid": obj.metadata.uid,
        },
    }
