"""`skyward-agent run --home DIR`: the program on every node.

One agent runs per home: it holds a lock, and another start ends at once, with success. A home whose node was dismissed
never runs an agent again.
"""

from __future__ import annotations

import fcntl
import gc
import os
import sys
from pathlib import Path

from skyward_agent import __version__

DISMISSED = "dismissed"
"""File that marks a home whose node has left."""
_USAGE = "usage: skyward-agent run --home DIR | version"
"""Read by hand: what parses command lines takes longer to load than the rest of this program's start."""


def main(arguments: list[str] | None = None) -> None:
    """The command line. Exits 0 when there is nothing (more) to do, 1 with one line when it cannot run."""
    match sys.argv[1:] if arguments is None else arguments:
        case ["run", "--home", path]:
            _run(Path(path).absolute())
        case ["version"]:
            print(__version__)  # noqa: T201 - what was asked for
        case ["--help"]:
            print(_USAGE)  # noqa: T201 - what was asked for
        case _:
            sys.exit(f"skyward-agent: {_USAGE}")


def _run(home: Path) -> None:
    if not home.is_dir():
        sys.exit(f"skyward-agent: {home}: no such directory: bootstrap this node first")
    if (home / DISMISSED).exists():
        sys.exit(0)
    lock = _lock(home / "agent.lock")
    if lock is None:
        sys.exit(0)
    (home / "agent.pid").write_text(f"{os.getpid()}\n")
    gc.disable()  # what is loaded stays: to look through it for garbage, again and again, takes a tenth of the start
    from skyward_agent.service import run_agent  # slow to load, and a second start does not need it

    gc.freeze()
    gc.enable()
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
