"""The lock on a state directory: held by the kernel for as long as the process lives, so it is never stale."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from skyward.api import to_time
from skyward.errors import StateDirectoryInUse

_NAME = "operator.lock"


class StateLock:
    """Exclusive use of a state directory. The file says who holds it; only the kernel's lock decides."""

    def __init__(self, directory: Path, now: float) -> None:
        """Raises StateDirectoryInUse, with the holder's pid, host and start time."""
        self._fd = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _describe(os.pread(self._fd, 4096, 0))
            os.close(self._fd)
            raise StateDirectoryInUse(
                f"the state directory {directory} is in use by {holder}: stop that operator, or choose another directory"
            ) from error
        holder_record = {"pid": os.getpid(), "host": socket.gethostname(), "since": to_time(now).isoformat()}
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(holder_record).encode(), 0)

    def release(self) -> None:
        """Idempotent. The file stays: removing it would let two operators lock two files of one name."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def _describe(record: bytes) -> str:
    try:
        holder = json.loads(record)
        return f"the operator with pid {holder['pid']} on {holder['host']}, running since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another operator that is just starting or stopping"
