"""Which installation a state directory belongs to, remembered beside the database: a database that was lost is made
anew for the same installation, so that its instances are still ours, and one that was swapped is refused."""

from __future__ import annotations

import os
from pathlib import Path

from skyward.errors import StateUnusable

_NAME = "installation"
_LONGEST = 200


def known_installation(directory: Path) -> str | None:
    """None for a directory that holds no installation yet."""
    try:
        return (directory / _NAME).read_text(errors="replace")[:_LONGEST].strip() or None
    except FileNotFoundError:
        return None


def check_identity(directory: Path, stored: str, wanted: str | None) -> None:
    """Remember the installation of the database. Raises StateUnusable when the directory, or the user, names another."""
    known = known_installation(directory)
    if known not in (None, stored):
        raise StateUnusable(
            f"the database in {directory} is of installation {stored}, the directory is of {known}: put the right "
            f"database there; if this one is right, remove {directory / _NAME}"
        )
    if wanted not in (None, stored):
        raise StateUnusable(
            f"the state directory {directory} is of installation {stored}, not of {wanted}: choose an empty one to take "
            "that installation over"
        )
    if known is None:
        _write(directory, stored)


def _write(directory: Path, installation: str) -> None:
    temporary = directory / f".{_NAME}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{installation}\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(directory / _NAME)
