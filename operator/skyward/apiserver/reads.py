"""GET of objects and lists, in the form that was asked for."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web

from skyward.api import Event, Object
from skyward.apiserver.accepting import PARTIAL, PARTIAL_LIST, TABLE, choose
from skyward.apiserver.asking import flag
from skyward.apiserver.columns import View
from skyward.apiserver.refusals import no_such_object, not_allowed
from skyward.apiserver.resources import Resource
from skyward.apiserver.selectors import Selection, parse_fields, parse_labels
from skyward.apiserver.watches import Watches
from skyward.apiserver.writing import answer, many, one
from skyward.contracts import Clock, TaskQueue


def selection(request: web.Request, resource: Resource) -> Selection:
    return Selection(
        namespace=request.match_info.get("namespace") if resource.is_namespaced else None,
        labels=parse_labels(request.query.get("labelSelector", "")),
        fields=parse_fields(request.query.get("fieldSelector", ""), resource.fields),
    )


async def find(resource: Resource, request: web.Request) -> Object:
    """The object that the path names. Raises Refusal 404."""
    name = request.match_info["name"]
    obj = await resource.feed.get(resource.key(request.match_info.get("namespace", ""), name))
    if obj is None:
        raise no_such_object(resource.plural, resource.group, name)
    return obj


def _when(obj: Object) -> tuple[datetime, int]:
    """Times are whole seconds; within one, the order of writing is the order of things."""
    assert isinstance(obj, Event)
    return obj.last_time, int(obj.metadata.resource_version or 0)


class Reads:
    def __init__(self, queue: TaskQueue, clock: Clock, watches: Watches) -> None:
        self._queue = queue
        self._clock = clock
        self._watches = watches

    def view(self) -> View:
        return View(now=self._clock.now(), held=self._queue.held)

    async def collection(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        chosen = selection(request, resource)
        if flag(request, "watch"):
            if "watch" not in resource.verbs:
                raise not_allowed()
            form = choose(request.headers.get("Accept", ""), TABLE, PARTIAL)
            return await self._watches.serve(resource, request, chosen, form)
        form = choose(request.headers.get("Accept", ""), TABLE, PARTIAL_LIST)
        found = await resource.feed.list(chosen.namespace)
        items = [obj for obj in found.items if chosen.holds(obj)]
        if resource.word is Event:
            items.sort(key=_when)  # a story is read from its beginning
        include = request.query.get("includeObject", "Metadata")
        return answer(await many(resource, items, found.version, form, self.view(), include), form=form)

    async def item(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        form = choose(request.headers.get("Accept", ""), TABLE, PARTIAL)
        obj = await find(resource, request)
        include = request.query.get("includeObject", "Metadata")
        return answer(one(resource, obj, form, self.view(), include), form=form)
