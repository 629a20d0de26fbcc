"""OpenAPI v3 from the words: what `kubectl explain` prints and `kubectl apply` looks at before it sends anything."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from skyward.api import Json
from skyward.apiserver.patches import JSON_PATCH, MERGE
from skyward.apiserver.refusals import no_such_path
from skyward.apiserver.resources import Resource
from skyward.apiserver.writing import answer, dump

_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_KEPT = (
    "type",
    "description",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "default",
    "required",
)


class OpenApi:
    """One document per group and version, built when it is first asked for."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = resources
        self._documents: dict[str, Json] = {}

    async def legacy(self, request: web.Request) -> web.StreamResponse:
        """kubectl falls back to v2 for a kind that v3 does not have. An empty document lets it say that there is no such kind;
        a 404 would make it speak of a failed download."""
        return web.Response(body=b"", headers={"Content-Type": _V2})

    async def index(self, request: web.Request) -> web.StreamResponse:
        paths = {}
        for path in sorted({resource.prefix.removeprefix("/") for resource in self._resources}):
            digest = hashlib.sha256(dump(self._document(path))).hexdigest()[:32].upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        return answer({"paths": paths})

    async def document(self, request: web.Request) -> web.StreamResponse:
        response = answer(self._document(request.match_info["path"].strip("/")))
        if "hash" in request.query:
            response.headers["Cache-Control"] = "public, immutable"
        return response

    def _document(self, path: str) -> Json:
        if path not in self._documents:
            served = [resource for resource in self._resources if resource.prefix.removeprefix("/") == path]
            if not served:
                raise no_such_path()
            self._documents[path] = _document(served)
        return self._documents[path]


def _document(resources: Sequence[Resource]) -> Json:
    schemas: Json = {}
    paths: Json = {}
    for resource in resources:
        gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        schema = structural(resource.word.model_json_schema(by_alias=True))
        schema["x-kubernetes-group-version-kind"] = [gvk]
        schemas[_schema_name(resource)] = schema
        paths.update(_paths(resource, gvk))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Skyward", "version": resources[0].version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schema_name(resource: Resource) -> str:
    backwards = ".".join(reversed(resource.group.split("."))) if resource.group else "core"
    return f"{backwards}.{resource.version}.{resource.kind}"


def _paths(resource: Resource, gvk: Json) -> Json:
    place = "/namespaces/{namespace}" if resource.is_namespaced else ""
    collection = f"{resource.prefix}{place}/{resource.plural}"
    actions = {"get": "get", "update": "put", "patch": "patch", "delete": "delete"}
    item = {method: _operation(resource, gvk, verb) for verb, method in actions.items() if verb in resource.verbs}
    whole = {"get": _operation(resource, gvk, "list")}
    if "create" in resource.verbs:
        whole["post"] = _operation(resource, gvk, "post")
    return {collection: whole, f"{collection}/{{name}}": item}


def _operation(resource: Resource, gvk: Json, verb: str) -> Json:
    reference = {"schema": {"$ref": f"#/components/schemas/{_schema_name(resource)}"}}
    operation: Json = {
        "operationId": f"{verb}{resource.kind}",
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": gvk,
        "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
    }
    if verb in ("post", "update", "patch"):
        # kubectl leaves validation to a server whose operations declare fieldValidation.
        names = ("dryRun", "fieldManager", "fieldValidation")
        operation["parameters"] = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
        types = (MERGE, JSON_PATCH) if verb == "patch" else ("application/json",)
        operation["requestBody"] = {"content": {type_: reference for type_ in types}}
    return operation


def structural(schema: Json) -> Json:
    """A pydantic schema as Kubernetes knows schemas: no references, no unions but int-or-string, no closed objects."""
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: Json, definitions: Json) -> Json:
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return {**_convert(target, definitions), **{key: schema[key] for key in ("description",) if key in schema}}
    if "anyOf" in schema:
        return _choice(schema, definitions)
    found: Json = {key: schema[key] for key in _KEPT if key in schema and schema[key] is not None}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if "properties" in schema:
        found["properties"] = {name: _convert(part, definitions) for name, part in schema["properties"].items()}
    if "items" in schema:
        found["items"] = _convert(schema["items"], definitions)
    extra: Any = schema.get("additionalProperties")
    if isinstance(extra, dict):
        found["additionalProperties"] = _convert(extra, definitions)
    elif extra is True or "patternProperties" in schema:
        found["x-kubernetes-preserve-unknown-fields"] = True
    if found.get("type") == "integer":
        found.setdefault("format", "int64")
    return found


def _choice(schema: Json, definitions: Json) -> Json:
    kinds = [_convert(part, definitions) for part in schema["anyOf"] if part.get("type") != "null"]
    described = {key: schema[key] for key in ("description",) if key in schema}
    if len(kinds) == 1:
        return {**kinds[0], **described}
    types = {kind.get("type") for kind in kinds}
    if types == {"integer", "string"}:
        return {"x-kubernetes-int-or-string": True, **described}
    return {"x-kubernetes-preserve-unknown-fields": True, **described}
