"""The provider's truth: which machines exist, whose they are, and what still runs on them, seen by looking.

A machine of the local provider is a directory, and everything on it carries its id in the environment. Both are looked
at directly: a log written by the driver would be the driver's testimony.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.place import Place, append

_MARK = b"SKYWARD_INSTANCE"


@dataclass(slots=True)
class Machine:
    """One machine as last seen. A process that outlives its directory keeps its machine in here."""

    id: str
    pool: str = ""
    pool_uid: str = ""
    node: str = ""
    """Uid of the node that its agent was told to be; empty before the bootstrap."""
    name: str = ""
    """That node's name: pool, slot and a suffix."""
    exists: bool = False
    """Its directory does."""
    is_leaving: bool = False
    pids: list[int] = field(default_factory=list)

    @property
    def slot(self) -> str:
        return self.name.rpartition("-")[0]


class Truth:
    """Looks at the machines again and again; writes down each that came or went."""

    def __init__(self, place: Place, foreign: frozenset[str]) -> None:
        """`foreign` are ids of machines that are somebody else's."""
        self._place = place
        self._foreign = foreign
        self._known: dict[str, Machine] = {}
        self._present: set[str] = set()
        self.born = 0

    def look(self) -> list[Machine]:
        """Every machine of ours of which there is a directory or a process."""
        running = self._running()
        directories = self._directories()
        seen = [self._machine(id_, id_ in directories, running.get(id_, [])) for id_ in sorted(running | directories)]
        self._note({machine.id for machine in seen})
        return seen

    def half_made(self) -> list[str]:
        """Directories that a crash left between nothing and a machine."""
        return sorted(str(path) for path in self._place.nodes.glob(".tmp-*"))

    def _machine(self, id_: str, exists: bool, pids: list[int]) -> Machine:
        machine = self._known.setdefault(id_, Machine(id_))
        directory = self._place.nodes / id_
        if not machine.pool:
            record = _json(directory / "instance.json")
            machine.pool, machine.pool_uid = record.get("pool", ""), record.get("pool_uid", "")
        if not machine.node:
            identity = _json(directory / "home" / ".skyward" / "agent.json")
            machine.node, machine.name = identity.get("node", ""), identity.get("name", "")
        machine.exists, machine.pids = exists, pids
        machine.is_leaving = exists and (directory / "leaving").exists()
        return machine

    def _directories(self) -> dict[str, None]:
        try:
            names = os.listdir(self._place.nodes)
        except FileNotFoundError:
            return {}
        return {name: None for name in names if not name.startswith(".") and name not in self._foreign}

    def _running(self) -> dict[str, list[int]]:
        """Pids by machine, of everything that carries a mark and lives below our nodes."""
        found: dict[str, list[int]] = {}
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                environ = Path("/proc", name, "environ").read_bytes()
            except OSError:
                continue
            if _MARK in environ:
                pairs = dict(pair.split(b"=", 1) for pair in environ.split(b"\0") if b"=" in pair)
                id_ = pairs.get(_MARK, b"").decode(errors="replace")
                home = pairs.get(b"HOME", b"").decode(errors="replace")
                is_ours = id_ in self._known or home.startswith(f"{self._place.nodes}/")
                if is_ours and id_ not in self._foreign:
                    found.setdefault(id_, []).append(int(name))
        return found

    def _note(self, present: set[str]) -> None:
        for id_ in sorted(present - self._present):
            machine = self._known[id_]
            append(self._place.truth, "born", machine=id_, pool=machine.pool, pool_uid=machine.pool_uid)
            self.born += 1
        for id_ in sorted(self._present - present):
            append(self._place.truth, "gone", machine=id_, name=self._known[id_].name)
        self._present = present


def _json(path: Path) -> dict[str, str]:
    """Nothing while it does not exist or is half written."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
