"""The history of a pool's templates: a row for each, written with the pool's other rows and gone with the pool."""

from __future__ import annotations

from skyward.api import Pool, template_hash
from skyward.contracts import Store, Transaction
from skyward.facts import Revision

KEPT = 10
"""So many of a pool's revisions are kept, the newest ones."""
_ALL = 2**62


class RevisionBook:
    """Knows the newest template of every pool that it was asked about, so that a pool at rest costs no statement."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._newest: dict[str, str] = {}

    async def lacks(self, pool: Pool) -> bool:
        """The pool's template is not that of its newest revision."""
        uid = pool.metadata.uid
        if pool.metadata.deletion_timestamp is not None:
            return False
        if uid not in self._newest:
            revisions = await self._store.read(lambda tx: tx.revisions(uid))
            self._newest[uid] = revisions[-1].template_hash if revisions else ""
        return self._newest[uid] != template_hash(pool.spec)

    def keep(self, pool: Pool) -> None:
        """After a transaction that recorded it."""
        self._newest[pool.metadata.uid] = template_hash(pool.spec)

    def forget(self, pool: Pool) -> None:
        """After a transaction that dropped them."""
        self._newest.pop(pool.metadata.uid, None)


def record_revision(tx: Transaction, pool: Pool, now: float) -> None:
    """Idempotent: a template that is the newest revision's already is not recorded again."""
    uid, hash_ = pool.metadata.uid, template_hash(pool.spec)
    revisions = tx.revisions(uid)
    if revisions and revisions[-1].template_hash == hash_:
        return
    number = revisions[-1].number + 1 if revisions else 1
    tx.put_revision(Revision(uid, number, hash_, pool.spec.template(), now, _cause(pool)))
    tx.drop_revisions(uid, number - KEPT + 1)


def drop_revisions(tx: Transaction, pool: Pool) -> None:
    tx.drop_revisions(pool.metadata.uid, _ALL)


def _cause(pool: Pool) -> str:
    """The manifest's place and the snapshot that it came from; empty for a pool that no manifest made."""
    status = pool.status
    return f"{status.file} at {status.revision}" if status.file and status.revision else status.file
