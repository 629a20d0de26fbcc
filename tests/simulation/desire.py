"""What users want, as files; and what anybody may conclude from those files at any time, worked out independently.

A pool may be taken for deleted only after every reading of the last ten seconds could have seen a whole directory without
it. Everything doubtful (unreadable, another directory, Git at work, no marker, a broken file) starts that time anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from skyward.api import Pool, PoolSpec
from skyward.intake import APPROVAL, MARKER
from tests.intake.files import MemoryFiles
from tests.simulation.clock import SimClock
from tests.simulation.operator import MANIFESTS

ABSENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Wish:
    """One pool as its user wants it."""

    name: str
    nodes: int
    version: int = 1
    """Of its template."""
    surge: int = 0
    unavailable: int = 1
    asked_at: str = ""
    """When a human asked for another try."""

    def text(self) -> str:
        annotations = (
            f', annotations: {{skyward.dev/reconcile-requested-at: "{self.asked_at}"}}' if self.asked_at else ""
        )
        return (
            f"apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {{name: {self.name}{annotations}}}\n"
            f"spec:\n  nodes: {self.nodes}\n  provider: local\n  drainTimeout: 1m\n"
            f"  rollout: {{maxUnavailable: {self.unavailable}, maxSurge: {self.surge}}}\n"
            f'  image: {{env: {{VERSION: "{self.version}"}}}}\n'
        )


class Desire:
    def __init__(self, files: MemoryFiles, clock: SimClock) -> None:
        self.wishes: dict[str, Wish] = {}
        """What is in the files, or would be if nobody had broken them."""
        self.history: dict[str, list[Wish]] = {}
        """Everything that was ever wanted under a name."""
        self._files = files
        self._clock = clock
        self._most: dict[str, int] = {}
        self._uids: dict[str, str] = {}
        self._gone_since: dict[str, float] = {}
        self._spoiled: set[str] = set()
        self.approved: set[str] = set()
        """Hashes of held deletions that a human approved."""
        files.make_directory(str(MANIFESTS))

    # --- what users do -----------------------------------------------------------------------------------------------

    def put(self, wish: Wish) -> None:
        self.wishes[wish.name] = wish
        self._spoiled.discard(wish.name)
        self.history.setdefault(wish.name, []).append(wish)
        self._files.put(self.path(wish.name), wish.text())
        self.look()

    def change(self, name: str, **changes: object) -> None:
        self.put(replace(self.wishes[name], **changes))  # type: ignore[arg-type]

    def remove(self, name: str) -> None:
        self.wishes.pop(name, None)
        self._spoiled.discard(name)
        self._files.remove(MANIFESTS / f"{name}.yaml")
        self.look()

    def path(self, name: str) -> str:
        return str(MANIFESTS / f"{name}.yaml")

    # --- what happens to the files -----------------------------------------------------------------------------------

    def spoil(self, name: str, share: float) -> None:
        """A file cut short, before it makes sense."""
        text = self.wishes[name].text()
        self._files.put(self.path(name), text[: int(share * text.index("provider:"))])
        self._spoiled.add(name)
        self.look()

    def approve(self, hash_: str) -> None:
        """A human looked at what is held, and means it."""
        self.approved.add(hash_)
        self._files.put(str(MANIFESTS / APPROVAL), f"{hash_}\n")

    @property
    def is_as_wished(self) -> bool:
        """The files say what users want, and nothing else."""
        wanted = {self.path(wish.name): wish.text().encode() for wish in self.wishes.values()}
        found = {path: data for path, data in self._files.entries.items() if path.endswith(".yaml")}
        return self._is_whole() and wanted == found

    def mend(self) -> None:
        """Everything is in the files again as users want it."""
        self._files.make_directory(str(MANIFESTS))
        self._spoiled.clear()
        for wish in self.wishes.values():
            if self._files.entries.get(self.path(wish.name)) != wish.text().encode():
                self._files.put(self.path(wish.name), wish.text())
        self.look()

    def look(self) -> None:
        """To be called after everything that happens to the directory."""
        now = self._clock.monotonic()
        whole = self._is_whole()
        shown = self._shown()
        for name in self.history:
            if not whole or name in shown:
                self._gone_since.pop(name, None)
            else:
                self._gone_since.setdefault(name, now)

    def _is_whole(self) -> bool:
        """A reader finds the directory, and everything in it makes sense."""
        root = str(MANIFESTS)
        if (
            root not in self._files.directories
            or self._files.faults
            or f"{root}/.git/index.lock" in self._files.entries
        ):
            return False
        return f"{root}/{MARKER}" in self._files.entries

    def _shown(self) -> set[str]:
        return {name for name in self.history if self.path(name) in self._files.entries}

    # --- what may be concluded ---------------------------------------------------------------------------------------

    def objection(self, name: str) -> str | None:
        """Why this pool may not be taken for deleted now; None when it may."""
        since = self._gone_since.get(name)
        if since is None:
            return "its document is there, or nobody could know that it is not"
        if self._clock.monotonic() - since < ABSENCE_S:
            return f"its document is missing only since {self._clock.monotonic() - since:.1f} s"
        return None

    def objection_to_spec(self, pool: Pool) -> str | None:
        """Nobody ever wrote that."""
        self._uids[pool.metadata.uid] = pool.metadata.name
        written: Iterable[Wish] = self.history.get(pool.metadata.name, ())
        if not any(_fits(wish, pool.spec) for wish in written):
            return f"nobody ever wanted {pool.spec.nodes} nodes of {pool.spec.image.env}"
        return None

    def most_wanted(self, pool_uid: str) -> int:
        """The most nodes that were ever allowed to stand at once."""
        wishes = self.history.get(self._uids.get(pool_uid, ""), ())
        return max((wish.nodes + wish.surge for wish in wishes), default=0)


def _fits(wish: Wish, spec: PoolSpec) -> bool:
    return wish.nodes == spec.nodes and spec.image.env == {"VERSION": str(wish.version)}
