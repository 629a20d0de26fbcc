"""Credentials as rows: hashes alone, never a token."""

from __future__ import annotations

import sqlite3

from skyward.contracts import Credential, CredentialKind


def get(raw: sqlite3.Connection, hash_: str) -> Credential | None:
    row = raw.execute("SELECT kind, subject, expires_at, used_by FROM credentials WHERE hash = ?", (hash_,)).fetchone()
    if row is None:
        return None
    kind, subject, expires_at, used_by = row
    return Credential(hash_, CredentialKind(kind), subject, expires_at, used_by)


def put(raw: sqlite3.Connection, credential: Credential) -> None:
    raw.execute(
        "INSERT INTO credentials (hash, kind, subject, expires_at, used_by) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (hash) DO UPDATE SET kind = excluded.kind, subject = excluded.subject, "
        "expires_at = excluded.expires_at, used_by = excluded.used_by",
        (credential.hash, credential.kind.value, credential.subject, credential.expires_at, credential.used_by),
    )


def drop(raw: sqlite3.Connection, subject: str) -> None:
    raw.execute("DELETE FROM credentials WHERE subject = ?", (subject,))
