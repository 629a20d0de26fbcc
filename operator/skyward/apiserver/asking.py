"""Reading requests: query values as Kubernetes spells them, and JSON bodies that cannot hurt."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from skyward.api import Json
from skyward.apiserver.refusals import Refusal, bad_request
from skyward.apiserver.resources import Resource

MAX_BODY_BYTES = 3 * 1024 * 1024
_BODY_S = 30.0
USER = web.RequestKey("user", str)
"""The user that the request's token belongs to."""
RESOURCE = web.RequestKey("resource", Resource)
"""What the path names."""
NAME = web.RequestKey("name", str)
"""The name in the body of a create, where the path has none."""
STREAM = web.RequestKey("stream", web.StreamResponse)
"""The response that was begun and cannot be taken back."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What a PUT or PATCH makes of an object, and the resource version it insists on."""

    apply: Callable[[Json], Json]
    pinned: str | None = None


def flag(request: web.Request, name: str) -> bool:
    """Absent is false; 0 and false in any case are false; everything else, even empty, is true."""
    value = request.query.get(name)
    return value is not None and value.lower() not in ("0", "false")


def number(request: web.Request, name: str) -> int | None:
    value = request.query.get(name)
    if value is None or value == "":
        return None
    if not value.isdecimal() or len(value) > 18:
        raise bad_request(f"{name}: {value!r} is not a whole number")
    return int(value)


def is_dry_run(request: web.Request, body: Json | None = None) -> bool:
    asked = [*request.query.getall("dryRun", []), *((body or {}).get("dryRun") or [])]
    if any(value != "All" for value in asked):
        raise bad_request("dryRun: the only value is All")
    return bool(asked)


async def read_json(request: web.Request, *, accepted: tuple[str, ...] = ("application/json",)) -> Any:
    """The body as JSON. Raises Refusal for another content type, broken or hostile JSON, or a body that does not end."""
    if request.headers.get("Content-Type") and request.content_type not in accepted:
        raise Refusal(
            415,
            "UnsupportedMediaType",
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}",
        )
    try:
        async with asyncio.timeout(_BODY_S):
            data = await request.read()
    except TimeoutError:
        raise Refusal(408, "Timeout", f"the request body did not arrive within {_BODY_S:.0f} s") from None
    if not data:
        return None
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_refuse_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise bad_request(f"the request body is not JSON: {reason}") from None


async def read_object(request: web.Request, *, accepted: tuple[str, ...] = ("application/json",)) -> Json:
    body = await read_json(request, accepted=accepted)
    if not isinstance(body, dict):
        raise bad_request("the request body must be a JSON object")
    return body


def member(body: Json, name: str) -> Json:
    """A member that must be an object or absent."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{name}: must be an object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice in one object")
    return found


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)
