"""The tables. Their newest form is here; how an older database gets there is in `migrations`.

Payloads live apart from what changes often: SQLite rewrites a whole row on every update, so an argument is written
once (`arguments`) and a result only together with the last update of its item.
"""

from __future__ import annotations

from sqlalchemy import Column, Integer
from sqlmodel import Field, Index, SQLModel, UniqueConstraint

SCHEMA_VERSION = 4
"""Raised by every migration."""


class MetaTable(SQLModel, table=True):
    """Facts about the store itself: `installation`, `pruned` (the newest version the change log forgot)."""

    __tablename__ = "meta"

    name: str = Field(primary_key=True)
    value: str


class ObjectTable(SQLModel, table=True):
    __tablename__ = "objects"
    __table_args__ = {"sqlite_with_rowid": False}

    kind: str = Field(primary_key=True)
    namespace: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    uid: str
    resource_version: int
    updated_at: float
    body: str


class ChangeTable(SQLModel, table=True):
    __tablename__ = "changes"

    resource_version: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    kind: str
    namespace: str
    name: str
    verb: str
    body: str


class LaunchTable(SQLModel, table=True):
    __tablename__ = "launches"

    id: str = Field(primary_key=True)
    created_at: float
    body: str


class CredentialTable(SQLModel, table=True):
    __tablename__ = "credentials"

    hash: str = Field(primary_key=True)
    kind: str
    subject: str = Field(index=True)
    expires_at: float | None = None
    used_by: str = ""


class DecisionTable(SQLModel, table=True):
    __tablename__ = "decisions"
    __table_args__ = (
        Index("ix_decisions_uid", "uid", "at"),
        Index("ix_decisions_key", "key", "kind"),
        Index("ix_decisions_until", "until"),
    )

    uid: str = Field(primary_key=True)
    verdict: str = Field(primary_key=True)
    rule: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    at: float = Field(primary_key=True)
    until: float | None = None
    kind: str
    key: str
    reason: str
    message: str
    inputs: str
    count: int


class RevisionTable(SQLModel, table=True):
    __tablename__ = "revisions"

    pool_uid: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    template_hash: str
    template: str
    created_at: float
    cause: str


class LeaseTable(SQLModel, table=True):
    __tablename__ = "leases"

    name: str = Field(primary_key=True)
    holder: str
    epoch: int
    duration_s: float
    renewals: int


class TaskTable(SQLModel, table=True):
    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("uid", name="uq_tasks_uid"),
        UniqueConstraint("namespace", "name", name="uq_tasks_name"),
        UniqueConstraint("submitter", "key", name="uq_tasks_key"),
        Index("ix_tasks_finished_at", "finished_at", "ttl_s"),
        {"sqlite_autoincrement": True},  # a seq is never given again: it names a task also after its row is gone
    )

    seq: int | None = Field(default=None, primary_key=True)
    uid: str
    namespace: str
    name: str
    submitter: str
    key: str
    fingerprint: str
    pool: str
    mode: str
    function: str
    function_name: str
    max_attempts: int
    timeout_s: float | None = None
    priority: int
    env: str
    stream: bool
    ranks: str
    items: int
    open: bool
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    succeeded: int
    failed: int
    cancelled: bool
    failures: str
    policy: str = Field(sa_column_kwargs={"server_default": ""})
    ttl_s: float = Field(sa_column_kwargs={"server_default": "3600"})
    seconds: float = Field(sa_column_kwargs={"server_default": "0"})
    cost_usd: float = Field(sa_column_kwargs={"server_default": "0"})
    pool_generation: int = Field(sa_column_kwargs={"server_default": "0"})
    template_hash: str = Field(sa_column_kwargs={"server_default": ""})


class ItemTable(SQLModel, table=True):
    """One item: `state` is 0 queued, 1 leased, 2 ended."""

    __tablename__ = "items"
    __table_args__ = {"sqlite_with_rowid": False}

    task: int = Field(primary_key=True)
    item: int = Field(primary_key=True)
    state: int
    attempt: int
    counted: int
    started: bool = False
    secret: str | None = None
    node_uid: str | None = None
    node: str | None = None
    outcome: str | None = None
    ended_at: float | None = None
    value: bytes | None = None
    failure: str | None = None
    exception: bytes | None = None
    seconds: float | None = None
    ready_at: float | None = None
    """Of an item that waits to be tried again: not before."""
    leased_at: float | None = None
    """Of the newest attempt."""


class AttemptTable(SQLModel, table=True):
    """One attempt that did not succeed: those that did are told by their item."""

    __tablename__ = "attempts"
    __table_args__ = {"sqlite_with_rowid": False}

    task: int = Field(primary_key=True)
    item: int = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    node: str
    outcome: str
    at: float
    seconds: float
    failure: str


class ArgumentTable(SQLModel, table=True):
    __tablename__ = "arguments"
    __table_args__ = {"sqlite_with_rowid": False}

    task: int = Field(primary_key=True)
    item: int = Field(primary_key=True)
    data: bytes


class FunctionTable(SQLModel, table=True):
    __tablename__ = "functions"

    digest: str = Field(primary_key=True)
    data: bytes
    put_at: float


class BlobReferenceTable(SQLModel, table=True):
    """A task whose arguments or results name this blob."""

    __tablename__ = "blob_refs"
    __table_args__ = (Index("ix_blob_refs_digest", "digest"), {"sqlite_with_rowid": False})

    task: int = Field(primary_key=True)
    digest: str = Field(primary_key=True)
