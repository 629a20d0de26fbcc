"""What a node directory says about itself: `instance.json`, `process.json`, `port`, and how they read as an Instance."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from skyward.api import LocalFaults
from skyward.api.quantities import parse_duration
from skyward.contracts import ProcessId
from skyward.facts import Notice

PROVIDER = "local"
MARKER = "SKYWARD_INSTANCE"
"""Everything that runs on a node has this variable, with the instance's id."""

RECORD = "instance.json"
PROCESS = "process.json"
PORT = "port"
LEAVING = "leaving"
HOST_KEY = "host_key"
AUTHORIZED_KEYS = "authorized_keys"
SERVER_LOG = "server.log"
HOME = "home"
TMP = "tmp"
BIN = "bin"
POWERED_OFF = "powered off"
"""What a server that was asked to end writes last into its log (`sshd` says it too, and imports nothing from here)."""
TEMPORARY = ".tmp-"
"""Directories of this prefix are half made or half removed: nobody's, and swept."""


@dataclass(frozen=True, slots=True)
class Record:
    """What `create` wrote down. Never changes afterwards."""

    id: str
    launch: str
    owner: str
    pool_uid: str
    pool: str
    created_at: float
    user: str
    host_key: str
    """Public half, OpenSSH form."""
    boot_delay_s: float = 0.0
    loss_after_s: float | None = None
    """The node counts as taken away this long after it came up."""
    notice_s: float | None = None
    """Its loss is announced this long before."""
    epoch: int | None = None

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """None when the directory is gone. Raises ValueError when it is there and says nothing sensible."""
        try:
            text = (directory / RECORD).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{directory / RECORD} is not readable: {error}") from error

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def is_taken(self, directory: Path, now: float) -> bool:
        """Whether the rehearsed spot loss has happened."""
        taken_at = self._taken_at(directory)
        return taken_at is not None and now >= taken_at

    def notice(self, directory: Path, now: float) -> Notice | None:
        """The rehearsed announcement of that loss, once it was made."""
        taken_at = self._taken_at(directory)
        if taken_at is None or self.notice_s is None or now < taken_at - self.notice_s:
            return None
        return Notice(taken_at, "rehearsed notice of a spot loss")

    def _taken_at(self, directory: Path) -> float | None:
        if self.loss_after_s is None:
            return None
        up_at = _up_at(directory)
        return None if up_at is None else up_at + self.loss_after_s


def read_process(directory: Path) -> ProcessId | None:
    """The node's server as it or the driver recorded it; None while it was never started."""
    try:
        return ProcessId(**json.loads((directory / PROCESS).read_text()))
    except FileNotFoundError:
        return None


def read_port(directory: Path) -> int | None:
    try:
        return int((directory / PORT).read_text())
    except FileNotFoundError:
        return None


def _up_at(directory: Path) -> float | None:
    """Since when its server listens: it writes its port once it does, and never again."""
    try:
        return (directory / PORT).stat().st_mtime
    except FileNotFoundError:
        return None


def seconds(duration: str | None) -> float | None:
    return None if duration is None else parse_duration(duration)


def has_creation_faults(faults: LocalFaults) -> bool:
    return bool(faults.failed_creates or faults.lost_replies)
