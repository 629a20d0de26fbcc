"""API writes: edits of the manifest files, taken in at once by the path that every edit takes.

Desire lives in the files alone. A write first takes in what is there, so that the stored version it is compared with is
the file's; then it edits the one document, replaces the file atomically, and takes that in. One write at a time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from skyward.api import DEFAULT_NAMESPACE, Pool, Reason, to_time
from skyward.contracts import Manifest, Transaction
from skyward.documents import BrokenDocument, Document, add, check_manifest, edit, parse_file, remove_document
from skyward.errors import AlreadyExists, Conflict, Invalid, NotFound, ReadOnlySource
from skyward.intake.applying import MANIFEST_FINALIZER, new_pool, updated_pool
from skyward.intake.declared import Declared, document_of, places
from skyward.intake.snapshot import Snapshot, SourceUnavailable
from skyward.intake.taking import Taker
from skyward.kit.recorder import record_event

_TRIES = 5
_MODE = 0o644
_PROBE = ".skyward-probe.0"
"""Named like what a killed write leaves, so that it is swept away like that."""

Claims = tuple[Document | BrokenDocument, ...]


class Writer:
    def __init__(self, taker: Taker) -> None:
        self._taker = taker

    async def write(self, manifest: Manifest, *, create: bool, expect: str | None, dry_run: bool) -> Pool:
        """See `skyward.contracts.ManifestWriter.write`."""
        wanted = check_manifest(manifest)
        async with self._taker.lock:
            for _ in range(_TRIES):
                snapshot, declared = await self._current(apply=not dry_run)
                stored = await self._stored(wanted.key)
                claims = declared.claims.get(wanted.key, ())
                _check(wanted.key, stored, claims, create=create, expect=expect)
                path, old, new = self._edited(snapshot, claims, manifest, wanted)
                if dry_run:
                    return self._preview(stored, path, new, wanted.key)
                if new == old:
                    return await self._say_again(snapshot, declared, wanted.key)
                if await self._replace(path, old, new):
                    return await self._take_written(snapshot, path, old, new, wanted.key)
        raise Conflict(f"the file of pool {wanted.key} keeps changing; try again")

    async def remove(self, namespace: str, name: str, *, uid: str | None, dry_run: bool) -> Pool:
        """See `skyward.contracts.ManifestWriter.remove`."""
        key = f"{namespace}/{name}"
        async with self._taker.lock:
            snapshot, declared = await self._current(apply=not dry_run)
            stored = await self._stored(key)
            if stored is None:
                raise NotFound(f"there is no pool {key}")
            if uid is not None and uid != stored.metadata.uid:
                raise Conflict(f"pool {key} has uid {stored.metadata.uid}, not {uid}: it was made anew")
            if stored.metadata.deletion_timestamp is not None:
                return stored
            if dry_run:
                return _marked(stored, self._taker.clock.now())
            for file in sorted({document.file for document in declared.claims.get(key, ())}):
                await self._check_writable(file)
            marked = await self._taker.store.run(lambda tx: self._mark(tx, stored), power_safe=True)
            await self.finish_removal(key, snapshot)
            return marked

    async def finish_removal(self, key: str, snapshot: Snapshot) -> None:
        """Remove the documents of a pool that was deleted through the API, then what held the pool for that. The lock is
        held. Idempotent: a crash in between is made good by the next pass."""
        taker = self._taker
        for _ in range(_TRIES):
            declared = await taker.declare(snapshot)
            lost = None
            for file, indexes in _removable(declared.claims.get(key, ())).items():
                lost = await self._remove_documents(snapshot, file, indexes)
                if lost is None:
                    break
                snapshot = lost
            else:
                await taker.store.run(lambda tx: _release(tx, key))
                await taker.take_in(snapshot, await taker.declare(snapshot))
                return
            snapshot = await self._snapshot()
        raise Conflict(f"the file of pool {key} keeps changing; its document is removed later")

    # --- steps of a write ---

    async def _current(self, *, apply: bool) -> tuple[Snapshot, Declared]:
        snapshot = await self._snapshot()
        declared = await self._taker.declare(snapshot)
        if apply:
            await self._taker.take_in(snapshot, declared)
        return snapshot, declared

    async def _snapshot(self) -> Snapshot:
        try:
            return await self._taker.settled_snapshot()
        except SourceUnavailable as err:
            if err.reason is Reason.SOURCE_BUSY:
                raise Conflict(f"{err.message}; try again") from err
            raise ReadOnlySource(f"{err.message}, nor written") from err

    async def _stored(self, key: str) -> Pool | None:
        return await self._taker.store.read(lambda tx: tx.get(Pool, key))

    def _edited(
        self, snapshot: Snapshot, claims: Claims, manifest: Manifest, wanted: Pool
    ) -> tuple[str, bytes | None, bytes]:
        """Which file to write, what it held, and what it shall hold."""
        document = document_of(claims)
        path = document.file if document is not None else _new_path(wanted)
        found = snapshot.file(path)
        if found is None and any(rejected.problem.file == path for rejected in snapshot.rejected):
            raise Conflict(f"pool {wanted.key} belongs into {path}, which cannot be used; see the Source's problems")
        old = found.data if found is not None else None
        try:
            text = old.decode() if old is not None else ""
        except UnicodeDecodeError as err:
            raise Conflict(f"pool {wanted.key} belongs into {path}, which is not UTF-8 text; mend it first") from err
        new = (edit(text, manifest) if document is not None else add(text, manifest)).encode()
        if not any(each.pool.spec == wanted.spec for each in _good(path, new, wanted.key)):
            raise Invalid(f"pool {wanted.key} does not fit into {path}: {_first_problem(path, new)}")
        return path, old, new

    def _preview(self, stored: Pool | None, path: str, new: bytes, key: str) -> Pool:
        document = _good(path, new, key)[0]
        now = to_time(self._taker.clock.now())
        if stored is None:
            return new_pool(document, "", "", now)
        return updated_pool(stored, document, stored.status.revision, now)

    async def _say_again(self, snapshot: Snapshot, declared: Declared, key: str) -> Pool:
        """The file says so already. If it is held nevertheless, this request is the word that was missing."""
        await self._taker.take_in(snapshot, declared, asked=key)
        stored = await self._stored(key)
        assert stored is not None, "its document was taken in"
        return stored

    async def _take_written(self, snapshot: Snapshot, path: str, old: bytes | None, new: bytes, key: str) -> Pool:
        """Take in what was written; a failure puts the file back. Who gives up waiting changes nothing: it is written."""
        taker = self._taker
        try:
            after = snapshot.with_file(path, new)
            await taker.take_in(after, await taker.declare(after), asked=key)
            stored = await self._stored(key)
            assert stored is not None, "a good document was taken in"
            return stored
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._put(await taker.offload(self._target, path), old)
            raise

    # --- files ---

    async def _replace(self, path: str, old: bytes | None, new: bytes | None) -> bool:
        """Write a file, or remove it with None, unless it is no longer what was read. Raises ReadOnlySource."""

        def replace() -> bool:
            target = self._target(path)
            if self._content(target) != old:
                return False
            self._put(target, new)
            return True

        try:
            return await self._taker.offload(replace)
        except OSError as err:
            raise self._read_only(path, err) from err

    def _put(self, target: Path, data: bytes | None) -> None:
        if data is None:
            self._taker.files.remove(target)
        else:
            self._taker.files.write(target, data, _MODE)

    def _content(self, target: Path) -> bytes | None:
        try:
            return self._taker.files.read(target, 1 << 30)
        except FileNotFoundError:
            return None

    def _target(self, path: str) -> Path:
        """The file behind a path, links followed; never one outside of the directory."""
        root = self._taker.files.resolve(self._taker.root)
        target = self._taker.files.resolve(self._taker.root / path)
        if not target.is_relative_to(root) or any(part.startswith(".") for part in target.relative_to(root).parts):
            raise ReadOnlySource(
                f"{path} leads out of the manifest directory {self._taker.root}; nothing is written there"
            )
        return target

    async def _check_writable(self, path: str) -> None:
        """Before a deletion is committed: its document must be removable."""

        def probe() -> None:
            beside = self._target(path).with_name(_PROBE)
            self._taker.files.write(beside, b"", _MODE)
            self._taker.files.remove(beside)

        try:
            await self._taker.offload(probe)
        except OSError as err:
            raise self._read_only(path, err) from err

    def _read_only(self, path: str, err: OSError) -> ReadOnlySource:
        where = self._taker.root / path
        return ReadOnlySource(f"{where} cannot be written ({err.strerror or err}); edit it where it comes from")

    async def _remove_documents(self, snapshot: Snapshot, path: str, indexes: list[int]) -> Snapshot | None:
        """The snapshot as it is afterwards; None when the file changed meanwhile."""
        found = snapshot.file(path)
        assert found is not None, "the claim came from it"
        text = found.data.decode()
        for index in sorted(indexes, reverse=True):
            text = remove_document(text, index)
        new = text.encode() if text else None
        return snapshot.with_file(path, new) if await self._replace(path, found.data, new) else None

    def _mark(self, tx: Transaction, stored: Pool) -> Pool:
        now = self._taker.clock.now()
        current = tx.get(Pool, stored.key)
        if current is None or current.metadata.uid != stored.metadata.uid:
            raise Conflict(f"pool {stored.key} was made anew meanwhile")
        if current.metadata.deletion_timestamp is not None:
            return current
        marked = tx.put(_marked(current, now))
        record_event(tx, marked, Reason.DELETE_REQUESTED, "deleted through the API", now=now)
        return marked


def _check(key: str, stored: Pool | None, claims: Claims, *, create: bool, expect: str | None) -> None:
    """Whether the write may go on. Raises AlreadyExists, NotFound, Conflict."""
    is_leaving = stored is not None and stored.metadata.deletion_timestamp is not None
    if is_leaving:
        error = AlreadyExists if create else Conflict
        raise error(f"pool {key} is being deleted; try again when it is gone")
    if stored is not None and create:
        raise AlreadyExists(f"pool {key} exists")
    if claims and document_of(claims) is None:
        raise Conflict(f"pool {key} is declared in {places(claims)}, which must be put right first: {_trouble(claims)}")
    if stored is None and not create:
        raise NotFound(f"there is no pool {key}")
    if stored is not None and expect is not None and expect != stored.metadata.resource_version:
        raise Conflict(f"pool {key} changed since it was read; read it again and repeat the change")


def _trouble(claims: Claims) -> str:
    if len(claims) > 1:
        return "two documents of one name"
    return "; ".join(str(problem) for each in claims if isinstance(each, BrokenDocument) for problem in each.problems)


def _new_path(pool: Pool) -> str:
    meta = pool.metadata
    return f"{meta.name}.yaml" if meta.namespace == DEFAULT_NAMESPACE else f"{meta.namespace}/{meta.name}.yaml"


def _good(path: str, data: bytes, key: str) -> list[Document]:
    return [document for document in parse_file(path, data).documents if document.pool.key == key]


def _first_problem(path: str, data: bytes) -> str:
    return next((str(problem) for problem in parse_file(path, data).problems), "it would not read back")


def _removable(claims: Claims) -> dict[str, list[int]]:
    """Documents that surely claim the name, by file: those that are YAML."""
    found: dict[str, list[int]] = {}
    for document in claims:
        if isinstance(document, Document) or document.is_readable:
            found.setdefault(document.file, []).append(document.index)
    return found


def _marked(pool: Pool, now: float) -> Pool:
    finalizers = (*pool.metadata.finalizers, MANIFEST_FINALIZER)
    metadata = pool.metadata.replace(deletion_timestamp=to_time(now), finalizers=finalizers)
    return pool.replace(metadata=metadata, status=pool.status.replace(held=None))


def _release(tx: Transaction, key: str) -> None:
    """The document is gone: what else holds the pool is the controllers' business."""
    pool = tx.get(Pool, key)
    if pool is None or MANIFEST_FINALIZER not in pool.metadata.finalizers:
        return
    left = tuple(name for name in pool.metadata.finalizers if name != MANIFEST_FINALIZER)
    pool = tx.put(pool.replace(metadata=pool.metadata.replace(finalizers=left)))
    if not left:
        tx.delete(pool)
