"""Writing sources: all that a user may say there is what of the waiting may go on, and only by its exact name."""

from __future__ import annotations

from skyward.api import Json, Source
from skyward.api.meta import ADOPTED, APPROVED, READ_DESPITE
from skyward.apiserver.asking import Edit, member
from skyward.apiserver.pools import stale, texts
from skyward.apiserver.refusals import not_allowed
from skyward.contracts import Store, Transaction
from skyward.errors import Conflict, Invalid, NotFound


class SourceWrites:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def update(self, namespace: str, name: str, edit: Edit, *, dry_run: bool, user: str) -> Source:
        def work(tx: Transaction) -> Source:
            source = tx.get(Source, f"{namespace}/{name}")
            if source is None:
                raise NotFound(f'sources.skyward.dev "{name}" not found')
            if edit.pinned not in (None, source.metadata.resource_version):
                raise Conflict(stale("sources.skyward.dev", name))
            changed = _changed(source, edit.apply(source.to_json()))
            return changed if dry_run else tx.put(changed)

        return await (self._store.read(work) if dry_run else self._store.run(work, power_safe=True))

    async def delete(self, namespace: str, name: str, *, uid: str | None, dry_run: bool, user: str) -> Source:
        raise not_allowed("a source is made by the operator, of its manifest directory")


def _changed(source: Source, wanted: Json) -> Source:
    """The source with other labels and annotations; raises Invalid for anything else, and for an approval of what does not wait."""
    if member(wanted, "spec") != source.spec.to_json():
        raise _refused("spec", "is set by the operator; only labels and annotations may be changed")
    meta = member(wanted, "metadata")
    labels, annotations = texts(meta, "labels"), texts(meta, "annotations")
    held = source.status.held
    waiting = {APPROVED: held.hash if held is not None else "", READ_DESPITE: source.status.unfinished}
    adopted = annotations.get(ADOPTED)
    if adopted not in (None, source.metadata.annotations.get(ADOPTED), *source.status.adoptable):
        raise _refused(f"metadata.annotations.{ADOPTED}", f"{adopted!r} is not what waits to be adopted")
    for name, current in waiting.items():
        given = annotations.get(name)
        if given not in (None, current, source.metadata.annotations.get(name)):
            instead = f"what waits now is {current}" if current else "nothing of that kind waits now"
            raise _refused(f"metadata.annotations.{name}", f"{given!r} is not what waits: {instead}")
    return source.replace(metadata=source.metadata.replace(labels=labels, annotations=annotations))


def _refused(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", ((field, message),))
