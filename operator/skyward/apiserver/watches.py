"""Watches: one JSON line for each change, without gap or repeat, until the client goes, its time is up, or history ends.

An object that starts to match a selector is ADDED and one that stops is DELETED, with its new state.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import structlog
from aiohttp import web

from skyward.api import Json, Object
from skyward.apiserver.accepting import TABLE, Form
from skyward.apiserver.asking import STREAM, flag, number
from skyward.apiserver.columns import View
from skyward.apiserver.feeds import Cursor
from skyward.apiserver.refusals import from_error
from skyward.apiserver.resources import Resource
from skyward.apiserver.selectors import Selection
from skyward.apiserver.writing import dump, one
from skyward.contracts import Change, Clock, TaskQueue, Verb
from skyward.errors import HistoryExpired

log = structlog.get_logger()
_LONGEST_S, _SPREAD_S = 1800, 1800
_LOOK_S = 2.0
"""How often a silent watch looks whether its client is still there."""
_BOOKMARK_S = 30.0
_WRITE_S = 30.0
"""A client that takes nothing for so long is let go."""
_INITIAL_END = "k8s.io/initial-events-end"


class Watches:
    def __init__(self, queue: TaskQueue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._served = itertools.count()

    async def serve(
        self, resource: Resource, request: web.Request, chosen: Selection, form: Form
    ) -> web.StreamResponse:
        longest = (
            _LONGEST_S + next(self._served) * 677 % _SPREAD_S
        )  # spread, so that clients do not all come back at once
        timeout = min(number(request, "timeoutSeconds") or longest, longest)
        response = web.StreamResponse(headers={"Content-Type": form.content_type, "Cache-Control": "no-cache"})
        stream = _Stream(resource, request, response, chosen, form, self)
        request[STREAM] = response
        await response.prepare(request)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await stream.run()
            await stream.bookmark()
            await response.write_eof()
        except ConnectionError:
            log.debug("watching client gone", resource=resource.plural)
        finally:
            stream.close()
        return response

    def view(self) -> View:
        return View(now=self._clock.now(), held=self._queue.held)


class _Stream:
    def __init__(
        self,
        resource: Resource,
        request: web.Request,
        response: web.StreamResponse,
        chosen: Selection,
        form: Form,
        watches: Watches,
    ) -> None:
        self._resource = resource
        self._request = request
        self._response = response
        self._chosen = chosen
        self._form = form
        self._watches = watches
        self._since = number(request, "resourceVersion") or 0
        self._include = request.query.get("includeObject", "Metadata")
        self._has_bookmarks = flag(request, "allowWatchBookmarks")
        self._cursor: Cursor | None = None
        self._matched: dict[str, bool] = {}
        self._sent = 0

    async def run(self) -> None:
        """Send events until cancelled, or until changes may have been missed."""
        try:
            self._cursor = await self._begin()
            await self._follow(self._cursor)
        except HistoryExpired as error:
            await self._write({"type": "ERROR", "object": from_error(error).to_json()})

    async def _begin(self) -> Cursor:
        since = self._since
        initial = self._request.query.get("sendInitialEvents")
        wants_all = since == 0 if initial is None else flag(self._request, "sendInitialEvents")
        if since and not wants_all and self._chosen.is_fixed:
            return await self._resource.feed.follow(since)
        found = await self._resource.feed.list(self._chosen.namespace)
        start = found.version if wants_all or since == 0 else since
        # What changed after `start` is matched by its own events; all the rest is as it was then.
        self._matched = {
            obj.key: self._chosen.holds(obj) for obj in found.items if int(obj.metadata.resource_version or 0) <= start
        }
        if wants_all:
            for obj in found.items:
                if self._chosen.holds(obj):
                    await self._send(Verb.ADDED, obj)
            if initial is not None:
                await self._bookmark(start, {_INITIAL_END: "true"})
        return await self._resource.feed.follow(start)

    async def _follow(self, cursor: Cursor) -> None:
        loop = asyncio.get_running_loop()
        told_at = loop.time()
        while True:
            changes = await cursor.next(_LOOK_S)
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the watching client is gone")
            for change in changes:
                verb = self._verb(change)
                if verb is not None:
                    told_at = loop.time()
                    await self._send(verb, change.object)
            if loop.time() - told_at >= _BOOKMARK_S:
                told_at = loop.time()
                await self.bookmark()

    def _verb(self, change: Change) -> Verb | None:
        """What the change is to someone who sees only what is selected."""
        obj, verb = change.object, change.verb
        if not self._chosen.can_hold(obj):
            return None
        if self._chosen.is_fixed:
            return verb
        holds = self._chosen.holds(obj)
        # An object that changed before this watch began may have matched: saying DELETED of one never seen is harmless.
        held = self._matched.get(obj.key, verb is not Verb.ADDED)
        if verb is Verb.DELETED:
            self._matched.pop(obj.key, None)
            return Verb.DELETED if held else None
        self._matched[obj.key] = holds
        if holds:
            return Verb.MODIFIED if held else Verb.ADDED
        return Verb.DELETED if held else None

    async def _send(self, verb: Verb, obj: Object) -> None:
        body = one(self._resource, obj, self._form, self._watches.view(), self._include)
        if self._form.kind == TABLE and self._sent:
            body["columnDefinitions"] = []
        self._sent += 1
        await self._write({"type": str(verb), "object": body})

    async def bookmark(self) -> None:
        """Tell how far the client has seen, so that it can go on from there. Best effort at the end of a watch."""
        if self._cursor is not None:
            await self._bookmark(self._cursor.version, {})

    async def _bookmark(self, version: int, annotations: dict[str, str]) -> None:
        if not self._has_bookmarks:
            return
        meta: Json = {"resourceVersion": str(version)}
        if annotations:
            meta["annotations"] = annotations
        body = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": meta}
        if self._form.kind == TABLE:
            body = {"kind": TABLE, "apiVersion": self._form.api_version, "metadata": meta, "columnDefinitions": []}
            body["rows"] = []
        await self._write({"type": "BOOKMARK", "object": body})

    async def _write(self, event: Json) -> None:
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._response.write(dump(event) + b"\n")
        except TimeoutError:
            raise ConnectionResetError("the watching client takes nothing") from None

    def close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
