"""The revisions subresource of a pool: the templates that it had, oldest first."""

from __future__ import annotations

from aiohttp import web

from skyward.api import API_VERSION, Json, Pool, template_hash, to_time
from skyward.apiserver.reads import find
from skyward.apiserver.refusals import not_allowed
from skyward.apiserver.resources import Resource
from skyward.apiserver.writing import answer
from skyward.contracts import Store
from skyward.facts import Revision

KIND = "RevisionList"


class Revisions:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def serve(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        pool = await find(resource, request)
        if not isinstance(pool, Pool):
            raise not_allowed()
        revisions = await self._store.read(lambda tx: tx.revisions(pool.metadata.uid))
        return answer(_listed(pool, revisions))


def _listed(pool: Pool, revisions: tuple[Revision, ...]) -> Json:
    """The newest revision is the current one, unless the spec was changed and not looked at yet."""
    newest = revisions[-1].number if revisions else 0
    current = newest if newest and revisions[-1].template_hash == template_hash(pool.spec) else 0
    return {
        "kind": KIND,
        "apiVersion": API_VERSION,
        "metadata": {"resourceVersion": pool.metadata.resource_version},
        "items": [_item(revision, is_current=revision.number == current) for revision in revisions],
    }


def _item(revision: Revision, *, is_current: bool) -> Json:
    return {
        "number": revision.number,
        "templateHash": revision.template_hash,
        "template": revision.template,
        "createdAt": to_time(revision.created_at).isoformat().replace("+00:00", "Z"),
        "cause": revision.cause,
        "current": is_current,
    }
