"""PUT and PATCH bodies as edits of the object that they meet."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from skyward.api import Json
from skyward.apiserver.asking import Edit, member, read_json, read_object
from skyward.apiserver.patches import JSON_PATCH, MERGE, apply_operations, merge
from skyward.apiserver.refusals import bad_request
from skyward.apiserver.resources import Resource
from skyward.errors import Invalid

MUST_PIN = "must be specified for an update"
_SHORT_FORMS = (("provider", "providers"),)
"""(short, long): a patch in the short form means the whole of the long one, which is what objects show."""


async def read_replacement(request: web.Request, resource: Resource) -> Edit:
    """A PUT: the object as it shall be, made from the version that it names. Raises Invalid when it names none."""
    body = await read_object(request)
    check_identity(body, resource, request)
    version = member(body, "metadata").get("resourceVersion")
    if not isinstance(version, str) or not version:
        raise Invalid(
            f"metadata.resourceVersion: {MUST_PIN}", (("metadata.resourceVersion", f'Invalid value: "": {MUST_PIN}'),)
        )
    return Edit(lambda _: body, version)


async def read_patch(request: web.Request) -> Edit:
    """A PATCH of either kind; server-side apply and strategic merges are refused with what is accepted."""
    body: Any = await read_json(request, accepted=(JSON_PATCH, MERGE))
    if request.content_type == JSON_PATCH:
        return Edit(lambda base: apply_operations(base, body))
    if not isinstance(body, dict):
        raise bad_request("a merge patch must be a JSON object")
    version = member(body, "metadata").get("resourceVersion")
    return Edit(lambda base: _merged(base, body), version if isinstance(version, str) and version else None)


def check_identity(body: Json, resource: Resource, request: web.Request) -> None:
    """The body may leave out what the path says, but must not say otherwise."""
    meta = member(body, "metadata")
    said = {
        "apiVersion": (body.get("apiVersion"), resource.api_version),
        "kind": (body.get("kind"), resource.kind),
        "metadata.namespace": (meta.get("namespace"), request.match_info.get("namespace")),
        "metadata.name": (meta.get("name"), request.match_info.get("name")),
    }
    for field, (value, expected) in said.items():
        if value not in (None, "") and expected is not None and value != expected:
            raise bad_request(f"{field}: {value!r} does not match {expected!r}, which the request's path says")


def _merged(base: Json, patch: Json) -> Json:
    spec = patch.get("spec")
    if isinstance(spec, dict) and isinstance(base.get("spec"), dict):
        dropped = {long for short, long in _SHORT_FORMS if spec.get(short) is not None and long not in spec}
        base = {**base, "spec": {key: value for key, value in base["spec"].items() if key not in dropped}}
    result: Json = merge(base, patch)
    return result
