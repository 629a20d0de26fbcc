"""Credentials as rows: hashes alone, never a token."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from skyward.contracts import Credential, CredentialKind
from skyward.store.tables import CredentialTable

_TABLE = CredentialTable.metadata.tables["credentials"]


def get(sql: Connection, hash_: str) -> Credential | None:
    row = sql.execute(select(_TABLE).where(_TABLE.c.hash == hash_)).first()
    if row is None:
        return None
    return Credential(row.hash, CredentialKind(row.kind), row.subject, row.expires_at, row.used_by)


def put(sql: Connection, credential: Credential) -> None:
    values = {
        "kind": credential.kind.value,
        "subject": credential.subject,
        "expires_at": credential.expires_at,
        "used_by": credential.used_by,
    }
    statement = insert(_TABLE).values(hash=credential.hash, **values)
    sql.execute(statement.on_conflict_do_update(index_elements=[_TABLE.c.hash], set_=values))


def drop(sql: Connection, subject: str) -> None:
    sql.execute(delete(_TABLE).where(_TABLE.c.subject == subject))
