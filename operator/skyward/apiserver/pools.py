"""Writing pools: every write becomes an edit of the pool's manifest, which takes effect like a user's own edit."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from skyward.api import Json, Pool, PoolSpec
from skyward.apiserver.asking import Edit, member
from skyward.apiserver.feeds import Feed
from skyward.contracts import Manifest, ManifestWriter
from skyward.errors import Conflict, Invalid, NotFound

_TRIES = 8
"""An unpinned edit is made anew when the pool changed meanwhile, as its status often does."""


class PoolWrites:
    def __init__(self, feed: Feed, writer: ManifestWriter) -> None:
        self._feed = feed
        self._writer = writer

    async def create(self, namespace: str, body: Json, *, dry_run: bool) -> Pool:
        name = member(body, "metadata").get("name")
        if not isinstance(name, str) or not name:
            raise Invalid(
                "metadata.name: a pool needs a name", (("metadata.name", "Required value: a pool needs a name"),)
            )
        return await self._writer.write(_manifest(namespace, name, body), create=True, dry_run=dry_run)

    async def update(self, namespace: str, name: str, edit: Edit, *, dry_run: bool, user: str) -> Pool:
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                return await self._try(namespace, name, edit, dry_run=dry_run)
            except Conflict:
                if edit.pinned is not None or last:
                    raise
        raise AssertionError("the last try returns or raises")

    async def delete(self, namespace: str, name: str, *, uid: str | None, dry_run: bool, user: str) -> Pool:
        return await self._writer.remove(namespace, name, uid=uid, dry_run=dry_run)

    async def _try(self, namespace: str, name: str, edit: Edit, *, dry_run: bool) -> Pool:
        current = await self._feed.get(f"{namespace}/{name}")
        if not isinstance(current, Pool):
            raise NotFound(f'pools.skyward.dev "{name}" not found')
        version = current.metadata.resource_version
        if edit.pinned is not None and edit.pinned != version:
            raise Conflict(stale("pools.skyward.dev", name))
        base = current.to_json()
        wanted = _manifest(namespace, name, edit.apply(base))
        if wanted == _manifest(namespace, name, base):
            return current
        if current.metadata.deletion_timestamp is not None:
            raise Conflict(f"pool {current.key} is being deleted and takes no more changes")
        return await self._writer.write(wanted, create=False, expect=version, dry_run=dry_run)


def stale(resource: str, name: str) -> str:
    return (
        f'Operation cannot be fulfilled on {resource} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def _manifest(namespace: str, name: str, body: Json) -> Manifest:
    meta = member(body, "metadata")
    return Manifest(
        namespace=namespace,
        name=name,
        spec=_spec(body.get("spec")),
        labels=texts(meta, "labels"),
        annotations=texts(meta, "annotations"),
    )


def _spec(value: Any) -> Json:
    """The spec as a person would write it: without nulls, and without what says no more than the default. One that is not
    valid is handed on as it is; the writer says what is wrong with it."""
    if not isinstance(value, dict):
        raise Invalid("spec: must be an object", (("spec", "Required value: must be an object"),))
    pruned: Json = _without_nulls(value)
    try:
        return PoolSpec.model_validate(pruned).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    except ValidationError:
        return pruned


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def texts(meta: Json, name: str) -> dict[str, str]:
    """Labels or annotations: a map from text to text."""
    found = member(meta, name)
    for key, value in found.items():
        if not isinstance(value, str):
            field = f"metadata.{name}.{key}"
            raise Invalid(f"{field}: must be text, in quotes", ((field, "Invalid value: must be text, in quotes"),))
    return dict(found)
