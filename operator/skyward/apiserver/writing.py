"""Forms of an answer: the object itself, the server's table of it, or its metadata alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from skyward.api import Json, Object
from skyward.apiserver.accepting import PARTIAL, PARTIAL_LIST, TABLE, Form
from skyward.apiserver.columns import View
from skyward.apiserver.resources import Resource

_BREATH = 500
"""Objects rendered before others get a turn on the loop."""


def dump(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def answer(body: Json, *, status: int = 200, form: Form | None = None) -> web.Response:
    return web.Response(body=dump(body), status=status, headers={"Content-Type": (form or Form()).content_type})


def one(resource: Resource, obj: Object, form: Form, view: View, include: str) -> Json:
    if form.kind == TABLE:
        table = _table(resource, form, obj.metadata.resource_version)
        return {**table, "rows": [_row(resource, obj, view, include)]}
    if form.kind == PARTIAL:
        return _partial(resource, obj, form.api_version)
    return resource.render(obj)


async def many(resource: Resource, items: Sequence[Object], version: int, form: Form, view: View, include: str) -> Json:
    if form.kind == TABLE:
        rows = [_row(resource, obj, view, include) async for obj in _gently(items)]
        return {**_table(resource, form, str(version)), "rows": rows}
    meta = {"resourceVersion": str(version)}
    if form.kind == PARTIAL_LIST:
        partials = [_partial(resource, obj, form.api_version) async for obj in _gently(items)]
        return {"kind": PARTIAL_LIST, "apiVersion": form.api_version, "metadata": meta, "items": partials}
    rendered = [resource.render(obj) async for obj in _gently(items)]
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": meta,
        "items": rendered,
    }


async def _gently(items: Sequence[Object]) -> AsyncIterator[Object]:
    for index, item in enumerate(items):
        if index % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
        yield item


def _table(resource: Resource, form: Form, version: str) -> Json:
    return {
        "kind": TABLE,
        "apiVersion": form.api_version,
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": int(column.is_wide),
            }
            for column in resource.columns
        ],
    }


def _row(resource: Resource, obj: Object, view: View, include: str) -> Json:
    row: Json = {"cells": [column.cell(obj, view) for column in resource.columns]}
    if include == "Object":
        row["object"] = resource.render(obj)
    elif include != "None":
        row["object"] = _partial(resource, obj, "meta.k8s.io/v1")
    return row


def _partial(resource: Resource, obj: Object, api_version: str) -> Json:
    return {"kind": PARTIAL, "apiVersion": api_version, "metadata": resource.render_meta(obj)}
