"""Tokens: who holds one. The store keeps their hashes; what was verified once is remembered until it is revoked."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from skyward.contracts import Clock, Credential, CredentialKind, Ids, Store, Transaction

_REMEMBERED = 10_000


class StoreCredentials:
    """Implements `contracts.Credentials`. The only writer of credentials, so its memory is never behind."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._verified: dict[str, Credential] = {}
        self._revocations = 0

    async def add_user(self, name: str, token: str) -> None:
        """Make this API token that user's only one: a token that was replaced is worth nothing any more. Idempotent."""
        credential = Credential(_hash(token), CredentialKind.USER, name, None)

        def work(tx: Transaction) -> None:
            tx.drop_credentials(name)
            tx.put_credential(credential)

        await self._store.run(work)
        self._forget(name)

    async def issue_join(self, node_uid: str, valid_s: float) -> str:
        token = self._ids.token()
        credential = Credential(_hash(token), CredentialKind.JOIN, node_uid, self._clock.now() + valid_s)
        await self._store.run(lambda tx: tx.put_credential(credential))
        return token

    async def exchange(self, token: str, node_uid: str, incarnation: str) -> str | None:
        if not incarnation:
            return None
        hash_, now, issued = _hash(token), self._clock.now(), self._ids.token()

        def work(tx: Transaction) -> bool:
            join = tx.credential(hash_)
            if join is None or join.kind is not CredentialKind.JOIN or join.subject != node_uid or _is_over(join, now):
                return False
            if join.used_by not in ("", incarnation):
                return False
            if not join.used_by:
                tx.drop_credentials(node_uid)  # one agent per node: what an earlier one held ends here
                tx.put_credential(replace(join, used_by=incarnation))
            tx.put_credential(Credential(_hash(issued), CredentialKind.NODE, node_uid, None))
            return True

        if not await self._store.run(work):
            return None
        self._forget(node_uid)
        return issued

    async def node_of(self, token: str) -> str | None:
        return await self._subject(token, CredentialKind.NODE)

    async def user_of(self, token: str) -> str | None:
        return await self._subject(token, CredentialKind.USER)

    async def revoke(self, subject: str) -> None:
        await self._store.run(lambda tx: tx.drop_credentials(subject))
        self._forget(subject)

    async def _subject(self, token: str, kind: CredentialKind) -> str | None:
        """Looked up by hash: comparing in the index tells an attacker about hashes, never about tokens."""
        hash_ = _hash(token)
        known = self._verified.get(hash_)
        if known is None:
            revocations = self._revocations
            known = await self._store.read(lambda tx: tx.credential(hash_))
            if known is not None and revocations == self._revocations:
                self._remember(known)
        if known is None or known.kind is not kind or _is_over(known, self._clock.now()):
            return None
        return known.subject

    def _remember(self, credential: Credential) -> None:
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[credential.hash] = credential

    def _forget(self, subject: str) -> None:
        self._verified = {key: known for key, known in self._verified.items() if known.subject != subject}
        self._revocations += 1


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_over(credential: Credential, now: float) -> bool:
    return credential.expires_at is not None and now >= credential.expires_at
