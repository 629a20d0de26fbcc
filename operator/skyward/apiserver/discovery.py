"""What is served: the discovery documents that clients read before anything else, plain and aggregated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from aiohttp import web

from skyward.api import GROUP, VERSION, Json, Node, Pool, Task
from skyward.apiserver.accepting import DISCOVERY, choose
from skyward.apiserver.resources import Resource
from skyward.apiserver.revisions import KIND as REVISIONS
from skyward.apiserver.writing import answer, dump

KUBERNETES = ("1", "32")
"""The API version that clients may expect: some warn outside a range."""
_CATEGORY = "skyward"


class Discovery:
    def __init__(self, resources: Sequence[Resource], version: str) -> None:
        self._groups = {group: [resource for resource in resources if resource.group == group] for group in ("", GROUP)}
        self._version = version

    async def version(self, request: web.Request) -> web.StreamResponse:
        major, minor = KUBERNETES
        return answer(
            {
                "major": major,
                "minor": minor,
                "gitVersion": f"v{major}.{minor}.0+skyward-{self._version}",
                "gitCommit": "",
                "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "",
                "compiler": "",
                "platform": "linux/amd64",
            }
        )

    async def core(self, request: web.Request) -> web.StreamResponse:
        plain = {"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        return self._aggregated(request, "", plain)

    async def groups(self, request: web.Request) -> web.StreamResponse:
        return self._aggregated(request, GROUP, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group()]})

    async def group(self, request: web.Request) -> web.StreamResponse:
        return answer({"kind": "APIGroup", "apiVersion": "v1", **_group()})

    async def group_resources(self, request: web.Request) -> web.StreamResponse:
        return answer(_resource_list(f"{GROUP}/{VERSION}", self._groups[GROUP]))

    async def core_resources(self, request: web.Request) -> web.StreamResponse:
        return answer(_resource_list("v1", self._groups[""]))

    def _aggregated(self, request: web.Request, group: str, plain: Json) -> web.Response:
        form = choose(request.headers.get("Accept", ""), DISCOVERY)
        body = plain
        if form.kind:
            version = VERSION if group else "v1"
            body = {
                "kind": DISCOVERY,
                "apiVersion": form.api_version,
                "metadata": {},
                "items": [_aggregated_group(group, version, self._groups[group])],
            }
        etag = f'"{hashlib.sha256(dump(body)).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Vary": "Accept", "Cache-Control": "public"}
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        response = answer(body, form=form)
        response.headers.update(headers)
        return response


def _group() -> Json:
    version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    return {"name": GROUP, "versions": [version], "preferredVersion": version}


def _resource_list(group_version: str, resources: Sequence[Resource]) -> Json:
    entries: list[Json] = []
    for resource in resources:
        entries.append(_entry(resource))
        for name, verbs in resource.subresources.items():
            entry: Json = {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.is_namespaced,
                "kind": resource.kind,
                "verbs": list(verbs),
            }
            if name == "scale":
                entry.update(group="autoscaling", version="v1", kind="Scale")
            elif name == "revisions":
                entry.update(kind=REVISIONS)
            entries.append(entry)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entry(resource: Resource) -> Json:
    return {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.is_namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
        "shortNames": list(resource.short_names),
        "categories": _categories(resource),
    }


def _categories(resource: Resource) -> list[str]:
    if not resource.group:
        return []
    return [_CATEGORY, "all"] if resource.word in (Pool, Node, Task) else [_CATEGORY]


def _aggregated_group(group: str, version: str, resources: Sequence[Resource]) -> Json:
    return {
        "metadata": {"name": group} if group else {},
        "versions": [
            {
                "version": version,
                "resources": [_aggregated_resource(resource) for resource in resources],
                "freshness": "Current",
            }
        ],
    }


def _aggregated_resource(resource: Resource) -> Json:
    entry = _entry(resource)
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    others = {
        "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        "revisions": {**kind, "kind": REVISIONS},
    }
    return {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.is_namespaced else "Cluster",
        "singularResource": entry["singularName"],
        "verbs": entry["verbs"],
        "shortNames": entry["shortNames"],
        "categories": entry["categories"],
        "subresources": [
            {"subresource": name, "responseKind": others.get(name, kind), "verbs": list(verbs)}
            for name, verbs in resource.subresources.items()
        ],
    }
