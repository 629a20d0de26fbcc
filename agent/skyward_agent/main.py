"""`skyward-agent run --home DIR`: the program on every node.

One agent runs per home: it holds a lock, and another start ends at once, with success. A home whose node was dismissed
never runs an agent again.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from pathlib import Path

from skyward_agent import __version__

DISMISSED = "dismissed"
"""File that marks a home whose node has left."""


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits 0 when there is nothing (more) to do, 1 with one line when it cannot run."""
    parser = argparse.ArgumentParser(prog="skyward-agent", description="Runs tasks of a skyward pool on this node.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    run = commands.add_parser("run", help="run until dismissed")
    run.add_argument("--home", type=Path, required=True, help="the agent's directory")
    commands.add_parser("version", help="print this agent's version")
    chosen = parser.parse_args(arguments)
    if chosen.command == "version":
        print(__version__)  # noqa: T201 - what was asked for
        return
    home: Path = chosen.home.absolute()
    if not home.is_dir():
        sys.exit(f"skyward-agent: {home}: no such directory: bootstrap this node first")
    if (home / DISMISSED).exists():
        sys.exit(0)
    lock = _lock(home / "agent.lock")
    if lock is None:
        sys.exit(0)
    (home / "agent.pid").write_text(f"{os.getpid()}\n")
    from skyward_agent.service import run_agent  # slow to load, and a second start does not need it

    sys.exit(run_agent(home))


def _lock(path: Path) -> int | None:
    """The held lock's descriptor, open for as long as the process lives; None when another agent holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
