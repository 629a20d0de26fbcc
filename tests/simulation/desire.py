"""What users want, as files; and what anybody may conclude from those files at any time, worked out independently.

A pool may be taken for deleted only after two looks, ten seconds apart, at a whole directory without it. Every look between them
that was doubtful (unreadable, another directory, Git at work, no marker) or showed its file starts that time anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from skyward.api import Json, Pool, PoolSpec
from skyward.documents import parse_file
from skyward.intake import APPROVAL, MARKER
from tests.intake.files import MemoryFiles
from tests.simulation.clock import SimClock
from tests.simulation.looks import Looks
from tests.simulation.operator import MANIFESTS

ABSENCE_S = 10.0
PAUSED = "paused: true"
"""A line of a spec."""


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
    rollout: str = ""
    """More of how its nodes are replaced, in YAML's flow style."""
    more: tuple[str, ...] = ()
    """Further lines of its spec."""
    marks: tuple[tuple[str, str], ...] = ()
    """Annotations, without their prefix."""

    @property
    def is_paused(self) -> bool:
        return PAUSED in self.more

    def with_pause(self, paused: bool) -> Wish:
        return replace(self, more=tuple(line for line in self.more if line != PAUSED) + (PAUSED,) * paused)

    def spec(self, where: Json) -> Json:
        """For the API; without what only files say here."""
        return {
            "nodes": self.nodes,
            **where,
            "drainTimeout": "1m",
            "rollout": {"maxUnavailable": self.unavailable, "maxSurge": self.surge},
            "image": {"env": {"VERSION": str(self.version)}},
        }

    def text(self, where: Json) -> str:
        marks = (*((("reconcile-requested-at", self.asked_at),) if self.asked_at else ()), *self.marks)
        annotations = ", ".join(f'skyward.dev/{name}: "{value}"' for name, value in marks)
        annotations = f", annotations: {{{annotations}}}" if marks else ""
        rollout = f", {self.rollout}" if self.rollout else ""
        places = "".join(
            f"  {name}: {said if isinstance(said, str) else json.dumps(said)}\n" for name, said in where.items()
        )
        return (
            f"apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {{name: {self.name}{annotations}}}\n"
            f"spec:\n  nodes: {self.nodes}\n{places}  drainTimeout: 1m\n"
            f"  rollout: {{maxUnavailable: {self.unavailable}, maxSurge: {self.surge}{rollout}}}\n"
            f'  image: {{env: {{VERSION: "{self.version}"}}}}\n' + "".join(f"  {line}\n" for line in self.more)
        )


class Desire:
    def __init__(self, files: MemoryFiles, clock: SimClock, where: Json) -> None:
        """`where`: the part of every spec that says where nodes are made."""
        self.where = where
        self.wishes: dict[str, Wish] = {}
        """What is in the files, or would be if nobody had broken them."""
        self.history: dict[str, list[Wish]] = {}
        """Everything that was ever wanted under a name."""
        self._files = files
        self._clock = clock
        self._most: dict[str, int] = {}
        self._uids: dict[str, str] = {}
        self._looks: defaultdict[int, Looks] = defaultdict(Looks)
        """By process."""
        self._spoiled: set[str] = set()
        self._edited: dict[str, bytes] = {}
        """Files as an operator left them when it wrote what a user asked for."""
        self.deleted: set[str] = set()
        """Asked for through the API: that is evidence by itself."""
        self.broken: set[tuple[str, str]] = set()
        """Pools and versions of their templates that cannot work."""
        self.approved: set[str] = set()
        """Hashes of held deletions that a human approved."""
        files.make_directory(str(MANIFESTS))

    # --- what users do -----------------------------------------------------------------------------------------------

    def put(self, wish: Wish) -> None:
        self.wishes[wish.name] = wish
        self._edited.pop(wish.name, None)
        self._spoiled.discard(wish.name)
        self.history.setdefault(wish.name, []).append(wish)
        self._files.put(self.path(wish.name), wish.text(self.where))

    def change(self, name: str, **changes: object) -> None:
        self.put(replace(self.wishes[name], **changes))  # type: ignore[arg-type]

    def remove(self, name: str) -> None:
        self.wishes.pop(name, None)
        self._spoiled.discard(name)
        self._files.remove(MANIFESTS / f"{name}.yaml")

    def ask(self, wish: Wish) -> None:
        """It may be written from now on, by an operator."""
        self.history.setdefault(wish.name, []).append(wish)

    def was_written(self, path: Path, data: bytes | None) -> None:
        """An operator did what a user asked it for."""
        name = path.stem
        if data is None:
            self.wishes.pop(name, None)
            return
        documents = parse_file(path.name, data).documents
        wish = self.wishes.get(name) or next(reversed(self.history.get(name, ())), None)
        if wish is None or len(documents) != 1:
            return
        spec = documents[0].pool.spec
        wish = wish.with_pause(spec.paused)
        changed = replace(wish, nodes=spec.nodes, version=int(spec.image.env["VERSION"]))
        self.wishes[name] = changed
        self.history[name].append(changed)
        self._edited[name] = data

    def path(self, name: str) -> str:
        return str(MANIFESTS / f"{name}.yaml")

    def data(self, wish: Wish) -> bytes:
        """What its file says when nothing is wrong with it."""
        return self._edited.get(wish.name) or wish.text(self.where).encode()

    # --- what happens to the files -----------------------------------------------------------------------------------

    def spoil(self, name: str, share: float) -> None:
        """A file cut short, before it makes sense."""
        text = self.data(self.wishes[name])
        self._files.put(self.path(name), text[: int(share * text.index(b"provider"))])
        self._spoiled.add(name)

    def approve(self, hash_: str) -> None:
        """A human looked at what is held, and means it."""
        self.approved.add(hash_)
        self._files.put(str(MANIFESTS / APPROVAL), f"{hash_}\n")

    @property
    def is_as_wished(self) -> bool:
        """The files say what users want, and nothing else."""
        wanted = {self.path(wish.name): self.data(wish) for wish in self.wishes.values()}
        found = {path: data for path, data in self._files.entries.items() if path.endswith(".yaml")}
        return self._is_whole() and wanted == found

    def mend(self) -> None:
        """Everything is in the files again as users want it."""
        self._files.make_directory(str(MANIFESTS))
        self._spoiled.clear()
        for wish in self.wishes.values():
            if self._files.entries.get(self.path(wish.name)) != self.data(wish):
                self._files.put(self.path(wish.name), self.data(wish))

    def looked(self, process: int) -> None:
        """It reads the directory now."""
        missing = self.history.keys() - self._shown() if self._is_whole() else ()
        self._looks[process].took(missing, self._clock.monotonic())

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

    def objection(self, name: str, process: int) -> str | None:
        """Why this process may not take that pool for deleted now; None when it may."""
        if name in self.deleted:
            return None
        missed_s = self._looks[process].missed_for(name)
        if missed_s is None:
            return "the newest look showed its document, or could not show that it was gone"
        if missed_s < ABSENCE_S:
            return f"looks have missed its document for {missed_s:.1f} s only"
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
    says = (wish.nodes, {"VERSION": str(wish.version)}, wish.is_paused)
    return says == (spec.nodes, spec.image.env, spec.paused)
