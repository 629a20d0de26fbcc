"""What may be killed: every process of the run's machines, by what it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.chaos.children import start_time


class Kind(StrEnum):
    OPERATOR = "operator"
    WORKLOAD = "workload"
    SSH_SERVER = "ssh server"
    AGENT = "agent"
    CHILD = "task child"
    SCRIPT = "bootstrap script"
    NODE = "whole node"


@dataclass(frozen=True, slots=True, order=True)
class Target:
    machine: str
    kind: Kind
    pid: int
    started: str


def find_targets(nodes: Path) -> list[Target]:
    """Processes that run on the machines below `nodes`, in a stable order."""
    found = (_target(int(entry.name), nodes) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return sorted(target for target in found if target is not None)


def _target(pid: int, nodes: Path) -> Target | None:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    values = dict(pair.split("=", 1) for pair in environ if "=" in pair)
    machine = values.get("SKYWARD_INSTANCE", "")
    started = start_time(pid)
    if not machine or not started or not values.get("HOME", "").startswith(f"{nodes}/"):
        return None
    return Target(machine, _kind(argv), pid, started)


def _kind(argv: list[str]) -> Kind:
    if "skyward.drivers.local.sshd" in argv:
        return Kind.SSH_SERVER
    if any(word.endswith("/agent.pyz") for word in argv[:3]):
        return Kind.AGENT
    if any("skyward_agent.runner" in word for word in argv[:4]):
        return Kind.CHILD
    return Kind.SCRIPT
