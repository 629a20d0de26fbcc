"""One incarnation of the agent, from clearing away what the last one left to its own end."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import skyward_agent
from skyward_agent.agent import Agent, AgentPlace
from skyward_agent.archive import remove_older
from skyward_agent.link.identity import CredentialFile, Identity, IdentityError, load_identity
from skyward_agent.main import DISMISSED
from skyward_agent.runner.groups import find_groups
from skyward_agent.runner.leftovers import HOME_VARIABLE, ChildRecords, clear_leftovers
from skyward_agent.runner.process import ChildPlace, child_environment
from skyward_agent.runner.tree import become_subreaper
from skyward_agent.states.commands import ExitReason
from skyward_agent.updating import start_instead

_log = logging.getLogger("skyward_agent")
_LOG_BYTES = 5 * 1024 * 1024
POWER_OFF_VARIABLE = "SKYWARD_POWEROFF"
"""Holds the shell command that ends this node when its operator is long gone."""


def run_agent(home: Path) -> int:
    """Serve until the agent is to end. Returns the exit status. The caller holds the home's lock."""
    _start_log(home / "agent.log")
    try:
        identity = load_identity(home)
    except IdentityError as error:
        _log.error("cannot run error=%s", error)
        print(f"skyward-agent: {error}", file=sys.stderr)  # noqa: T201 - a mistake of the user's, told on the terminal
        return 1
    try:
        reason = asyncio.run(_serve(_prepare(home, identity)))
    except Exception:
        _log.exception("agent failed")
        return 1
    _log.info("agent ended reason=%s", reason.value)
    (home / "agent.pid").unlink(missing_ok=True)
    _depart(home, reason)
    if reason is ExitReason.UPDATED:
        start_instead(home)
    return 0


async def _serve(place: AgentPlace) -> ExitReason:
    return await Agent(place).run()


def _prepare(home: Path, identity: Identity) -> AgentPlace:
    """Clear the home of what an earlier incarnation left, and collect what the agent must know."""
    tasks = home / "tasks"
    tasks.mkdir(mode=0o700, exist_ok=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    library = Path(skyward_agent.__file__).parents[1]
    if not become_subreaper():
        _log.warning("processes that tasks leave behind may escape: this kernel gives no subreaper")
    _protect_from_memory_killer()
    found = clear_leftovers(home, tasks, ChildRecords(home / "children", boot))
    remove_older(home, library)
    _log.info("agent starting node=%s pid=%d version=%s", identity.name, os.getpid(), skyward_agent.__version__)
    if found:
        _log.warning("ended processes of an earlier agent count=%d", found)
    environment = {**child_environment(dict(os.environ), sys.executable), HOME_VARIABLE: str(home)}
    return AgentPlace(
        home=home,
        children=ChildPlace(sys.executable, str(library), tasks, environment, find_groups(home)),
        digest=library.name.removeprefix("lib-") if library.name.startswith("lib-") else "",
        boot=boot,
        incarnation=os.urandom(16).hex(),
        cpus=len(os.sched_getaffinity(0)),
        orphan_timeout_s=_orphan_timeout(home, identity),
    )


def _orphan_timeout(home: Path, identity: Identity) -> float | None:
    """The pool's last word on it; before there was one, that of the bootstrap."""
    try:
        text = (home / "orphan").read_text().strip()
        return None if text == "off" else float(text)
    except (OSError, ValueError):
        return identity.orphan_timeout_s


def _depart(home: Path, reason: ExitReason) -> None:
    """Leave the home as the reason of the end asks for."""
    if reason is ExitReason.DISMISSED:
        (home / DISMISSED).touch()
        CredentialFile(home).remove()
        shutil.rmtree(home / "spool", ignore_errors=True)
        shutil.rmtree(home / "tasks", ignore_errors=True)
    command = os.environ.get(POWER_OFF_VARIABLE)
    if reason is ExitReason.ORPHANED and command:
        _log.warning("powering the node off: its operator was gone for too long")
        subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, start_new_session=True)


def _protect_from_memory_killer() -> None:
    """Rather a task than the agent; children raise their own value. Only root may lower it."""
    try:
        Path("/proc/self/oom_score_adj").write_text("-500")
    except OSError:
        pass


def _start_log(path: Path) -> None:
    handler = _CappedLog(path)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _CappedLog(logging.FileHandler):
    """Keeps the last megabytes: a full file becomes `agent.log.1`, and the one before that goes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if self.stream is not None and self.stream.tell() > _LOG_BYTES:
            self.close()
            self._path.replace(f"{self._path}.1")
            self.stream = self._open()
