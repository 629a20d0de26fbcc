"""Writing desire: API writes edit the manifest files and take effect by the same path as a user's edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from skyward.api import Json, Pool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a user may decide about a pool: everything that its document holds."""

    namespace: str
    name: str
    spec: Json
    """As the user wrote it; validated by the writer."""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class ManifestWriter(Protocol):
    async def write(
        self, manifest: Manifest, *, create: bool, expect: str | None = None, dry_run: bool = False
    ) -> Pool:
        """Edit or add the pool's document, keep comments and order, and take it in. Returns the pool as stored.

        Raises Invalid (with causes), AlreadyExists (create), NotFound (not create), Conflict (`expect` is not the stored
        resource version, or two files claim the name), ReadOnlySource. On any error the files are unchanged.
        """
        ...

    async def remove(self, namespace: str, name: str, *, uid: str | None = None, dry_run: bool = False) -> Pool:
        """Set the pool's deletion timestamp, then remove its document. Returns the pool as stored. Raises NotFound, Conflict
        (another uid)."""
        ...
