"""The items subresource of a task: a page of its items by index, each with the attempts that did not succeed."""

from __future__ import annotations

from aiohttp import web

from skyward.api import API_VERSION, Json, Task
from skyward.apiserver.asking import number
from skyward.apiserver.reads import find
from skyward.apiserver.refusals import not_allowed
from skyward.apiserver.resources import Resource
from skyward.apiserver.writing import answer
from skyward.contracts import TaskQueue

KIND = "TaskItemList"
_PAGE = 500
"""Items of one page; also the most that may be asked for."""


class Items:
    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue

    async def serve(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        """`limit` and `continue` as in lists; the latter is the index of the page's first item."""
        task = await find(resource, request)
        if not isinstance(task, Task):
            raise not_allowed()
        start = number(request, "continue") or 0
        limit = min(number(request, "limit") or _PAGE, _PAGE)
        items = await self._queue.items(task.metadata.namespace, task.metadata.name, start, limit) or ()
        counts = task.status.items
        left = counts.queued + counts.running + counts.succeeded + counts.failed - start - len(items)
        meta: Json = {"resourceVersion": task.metadata.resource_version}
        if items and left > 0:
            meta |= {"continue": str(start + len(items)), "remainingItemCount": left}
        return answer(
            {"kind": KIND, "apiVersion": API_VERSION, "metadata": meta, "items": [item.to_json() for item in items]}
        )
