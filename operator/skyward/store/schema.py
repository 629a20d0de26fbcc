"""The schema's version: made new, checked, or brought up to date, each in one transaction.

The version is alembic's own record in the database. Alembic itself is imported only when there is something to
migrate: start-up should be quick.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from sqlalchemy import Connection
from sqlmodel import SQLModel

from skyward.errors import StateUnusable
from skyward.store.database import Database
from skyward.store.tables import SCHEMA_VERSION

MIGRATIONS = Path(__file__).parent / "migrations"


def prepare(database: Database, where: str) -> None:
    """Bring a database to this version's schema. Raises StateUnusable when a newer version wrote it; on any error the
    database is as it was."""
    stored = version_of(database)
    if stored > SCHEMA_VERSION:
        raise StateUnusable(
            f"{where} was written by a newer version of skyward-operator (schema {stored}, this one knows "
            f"{SCHEMA_VERSION}): install that version again, or choose another state directory"
        )
    if stored == SCHEMA_VERSION:
        return
    with database.sql.begin():
        if stored == 0:
            _create(database.sql)
        else:
            migrate(database.sql)


def version_of(database: Database) -> int:
    """0 for an empty database."""
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
    if database.raw.execute(known).fetchone() is None:
        return 0
    row = database.raw.execute("SELECT version_num FROM alembic_version").fetchone()
    return int(row[0]) if row else 0


def migrate(connection: Connection, target: str = "head") -> None:
    """Run every migration that is missing, in the caller's transaction."""
    command = importlib.import_module("alembic.command")
    config = importlib.import_module("alembic.config").Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, target)


def _create(connection: Connection) -> None:
    SQLModel.metadata.create_all(connection)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (f"{SCHEMA_VERSION:04}",))
