"""What is somebody else's and looks like ours: it must survive everything that the operator does."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path

from tests.chaos.children import spawn
from tests.chaos.place import Place, append

_SLEEP = ["sleep", "86400"]


def plant(place: Place) -> list[subprocess.Popen[bytes]]:
    """A machine of another installation among ours, a process that carries its mark, one that only mentions ours, and a
    directory beside the machines. Written down as `foreign`; returns the processes."""
    launch = str(uuid.uuid5(uuid.NAMESPACE_URL, place.root.as_uri()))  # other runs of this host have others
    machine = place.nodes / f"{launch[:12]}-0"
    _make_machine(machine, launch)
    beside = place.state / "local.backup"
    _make_machine(beside / machine.name, launch)
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir()
    log = place.root / "foreign.log"
    marks = {"SKYWARD_INSTANCE": machine.name, "HOME": str(elsewhere)}
    marked = spawn(_SLEEP, log=log, cwd=elsewhere, env=os.environ | marks)
    mentioning = spawn(["sh", "-c", f"exec sleep 86400 # {place.nodes}/SKYWARD_INSTANCE"], log=log, cwd=elsewhere)
    processes = [marked, mentioning]
    append(
        place.actions,
        "foreign",
        directories=[str(machine), str(beside)],
        processes=[process.pid for process in processes],
    )
    return processes


def _make_machine(directory: Path, launch: str) -> None:
    (directory / "home").mkdir(parents=True)
    (directory / "home" / "data").write_text("somebody's work\n")
    record = {
        "id": directory.name,
        "launch": launch,
        "owner": str(uuid.UUID(int=0xF0E)),
        "pool_uid": str(uuid.UUID(int=0xF001)),
        "pool": "default/work",
        "created_at": 0.0,
        "user": "nobody",
        "host_key": "ssh-ed25519 AAAA",
        "boot_delay_s": 0.0,
        "loss_after_s": None,
    }
    (directory / "instance.json").write_text(json.dumps(record))
