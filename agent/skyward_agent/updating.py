"""Another version of the agent, sent by its operator: checked, put in place, and started in this one's stead.

The home always holds one whole agent file. The new one must run on this node's Python before it replaces the old one, and
it is started by exec: the process, and with it the right to be this node's agent, stays the same one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
from pathlib import Path

from skyward_agent.link.identity import write_atomically
from skyward_agent.wire.messages import Update

_log = logging.getLogger("skyward_agent")
AGENT_FILE = "agent.pyz"
_CHECK_S = 60.0


def digest_of(data: bytes) -> str:
    """What an agent file is known by."""
    return hashlib.sha256(data).hexdigest()[:16]


class Updater:
    """Takes one update at a time."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._waiting: asyncio.Queue[Update] = asyncio.Queue(maxsize=1)

    def take(self, update: Update) -> None:
        """More than one at a time are the same one, sent again after a reconnection."""
        if self._waiting.empty():
            self._waiting.put_nowait(update)

    async def next(self) -> None:
        """Until another version is in place."""
        while True:
            update = await self._waiting.get()
            problem = await self._install(update)
            if not problem:
                _log.info("another version of the agent is in place digest=%s", update.digest)
                return
            _log.error("the agent is not updated digest=%s problem=%r", update.digest, problem)

    async def _install(self, update: Update) -> str:
        """Why it was not put in place; empty when it was."""
        if digest_of(update.data) != update.digest:
            return "its bytes are not those of its digest"
        candidate = self._home / f"{AGENT_FILE}.new"
        try:
            await asyncio.to_thread(write_atomically, candidate, update.data)
            problem = await _does_not_run(candidate)
            if not problem:
                candidate.replace(self._home / AGENT_FILE)
            return problem
        except OSError as error:
            return str(error)
        finally:
            candidate.unlink(missing_ok=True)


def start_instead(home: Path) -> None:
    """Become the agent whose file is in place. Returns only if that cannot be done, by raising OSError."""
    os.execv(sys.executable, [sys.executable, str(home / AGENT_FILE), "run", "--home", str(home)])


async def _does_not_run(candidate: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(candidate),
        "version",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_CHECK_S):
            output, _ = await process.communicate()
    except TimeoutError:
        return f"it does not answer within {_CHECK_S:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    last = output.decode(errors="replace").strip().splitlines()[-1:]
    return "" if process.returncode == 0 else f"it does not run here: {''.join(last)[:200]}"
