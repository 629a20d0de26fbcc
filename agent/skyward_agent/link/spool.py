"""Reports on disk until they are acknowledged: one file each, so that a finished result survives the agent."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from skyward_agent.link.identity import write_atomically
from skyward_agent.wire.frames import FrameError, decode, encode
from skyward_agent.wire.messages import AttemptId, Report, Reports

_log = logging.getLogger("skyward_agent.spool")
_DIGEST_BYTES = 32
_PREFIX_BYTES = 4
_SUFFIX = ".report"


class Spool:
    """A directory of reports. Not safe for two threads at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: set[AttemptId] = set()

    def load(self) -> tuple[Report, ...]:
        """What an earlier incarnation left, by age. Damaged files are dropped: the attempts will be tried again."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[tuple[int, str, Report]] = []
        for path in self._directory.iterdir():
            report = _read(path) if path.suffix == _SUFFIX else None
            if report is None:
                _log.warning("dropping unreadable report file=%s", path.name)
                path.unlink(missing_ok=True)
            else:
                found.append((path.stat().st_mtime_ns, path.name, report))
                self._kept.add(report.id)
        return tuple(report for _, _, report in sorted(found, key=lambda entry: entry[:2]))

    def apply(self, changes: Iterable[Report | AttemptId]) -> None:
        """Write reports and remove those of attempts, in order; blocks on the disk. A report whose removal follows is not
        written at all. A write that fails is logged: the report stays in memory and is sent all the same."""
        last = {change.id if isinstance(change, Report) else change: change for change in changes}
        for attempt, change in last.items():
            if isinstance(change, AttemptId):
                if attempt in self._kept:
                    self._kept.discard(attempt)
                    self._path(attempt).unlink(missing_ok=True)
                continue
            try:
                write_atomically(self._path(attempt), _to_bytes(change))
                self._kept.add(attempt)
            except OSError as error:
                _log.warning("report not spooled task=%s item=%d error=%s", attempt.task, attempt.item, error)

    def _path(self, attempt: AttemptId) -> Path:
        name = f"{attempt.task}/{attempt.item}/{attempt.attempt}/{attempt.secret}"
        return self._directory / (hashlib.sha256(name.encode()).hexdigest() + _SUFFIX)


def _to_bytes(report: Report) -> bytes:
    frame = b"".join(encode(Reports((report,))))[_PREFIX_BYTES:]
    return hashlib.sha256(frame).digest() + frame


def _read(path: Path) -> Report | None:
    try:
        data = path.read_bytes()
        digest, frame = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if hashlib.sha256(frame).digest() != digest:
            return None
        message = decode(frame)
    except (OSError, FrameError):
        return None
    return message.reports[0] if isinstance(message, Reports) and len(message.reports) == 1 else None
