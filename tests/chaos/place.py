"""Where everything of one chaos run lies, and how its records are written: one JSON object a line, appended whole.

Standard library only: the auditor reads these too, and shares no code with the operator.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """`root` is a directory of the run's own; its name has a space, as users' directories do."""

    root: Path

    @property
    def state(self) -> Path:
        """The operator's state directory; a small file system of its own where that is possible."""
        return self.root / "state"

    @property
    def nodes(self) -> Path:
        """The local provider's machines: the truth that the auditor looks at."""
        return self.state / "local"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def operator_log(self) -> Path:
        return self.root / "operator.log"

    @property
    def actions(self) -> Path:
        """What the conductor and its actors did, and what they planned."""
        return self.root / "actions.jsonl"

    @property
    def journal(self) -> Path:
        """What the workload asked for, and what it was answered."""
        return self.root / "journal.jsonl"

    @property
    def ledger(self) -> Path:
        """One line for each execution, appended on the node by the user's function itself."""
        return self.root / "ledger.jsonl"

    @property
    def truth(self) -> Path:
        """Machines and their processes as the auditor saw them come and go."""
        return self.root / "truth.jsonl"

    @property
    def quiet(self) -> Path:
        """Exists once the faults are over: the workload then asks for nothing new."""
        return self.root / "quiet"


def append(path: Path, op: str, **values: Any) -> Record:
    """What was written: in one write call, so that a killed writer leaves a whole line or none."""
    record = {"at": round(time.time(), 3), "op": op, **values}
    line = json.dumps(record) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    return record


def records(path: Path) -> list[Record]:
    """All lines; a file that was never written has none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line]
