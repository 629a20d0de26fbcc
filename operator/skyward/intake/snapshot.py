"""One consistent picture of the manifest directory: read until two readings in a row are the same, byte for byte.

Content decides, never a time stamp. A file that cannot be taken is rejected by itself; a directory that cannot be
listed, that a version control operation is changing, or that does not hold still gives no snapshot at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from skyward.api import Problem, Reason
from skyward.contracts import FileInfo, Files
from skyward.documents import MAX_FILE_BYTES
from skyward.intake.git import find_git, find_unfinished
from skyward.intake.known import Known

MARKER = ".skyward-source"
"""Names the installation that the directory belongs to. Without it, what is missing proves nothing."""
APPROVAL = ".skyward-approve"
"""Holds the hash of the held deletion that may go on: an approval that travels by commit."""
MAX_FILES = 10_000
MAX_SNAPSHOT_BYTES = 20 << 20
_SUFFIXES = (".yaml", ".yml")
_READINGS = 6
_NOTE_BYTES = 200


class SourceUnavailable(Exception):
    """There is no snapshot to be had now; `reason` is SourceMissing or SourceBusy."""

    def __init__(self, reason: Reason, message: str, unfinished: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.unfinished = unfinished
        """The sign of the Git operation that is waited for."""
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class ManifestFile:
    path: str
    """Relative to the directory, with `/`."""
    data: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class RejectedFile:
    problem: Problem
    may_declare: bool
    """It has content, which may declare pools, and that content is not known."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    identity: tuple[int, int]
    """Device and inode of the directory."""
    marker: str | None
    files: tuple[ManifestFile, ...]
    rejected: tuple[RejectedFile, ...]
    is_versioned: bool
    """Git looks after it."""
    approval: str = ""
    """The text of the approval file."""
    unfinished: str = ""
    """The sign of the Git operation in spite of which it was taken."""

    @property
    def revision(self) -> str:
        """Twelve hex digits that change with any name or byte."""
        lines = (f"{file.digest} {file.path}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]

    def file(self, path: str) -> ManifestFile | None:
        return next((file for file in self.files if file.path == path), None)

    def with_file(self, path: str, data: bytes | None) -> Snapshot:
        """As it is once this file is written, or removed with None."""
        files = {file.path: file for file in self.files if file.path != path}
        if data is not None:
            files[path] = ManifestFile(path, data, _digest(data))
        return replace(self, files=tuple(files[name] for name in sorted(files)))


class Reader:
    """Reads one directory again and again."""

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._root = root
        self._known: Known[ManifestFile] = Known()
        self._turn = threading.Lock()
        """Who gave up waiting for a hung disk leaves a thread behind that may still read."""

    def take(self, now: float, despite: str = "") -> Snapshot:
        """`despite` is the sign of a Git operation that somebody allowed to be overlooked; `now` is monotonic. Raises
        SourceUnavailable."""
        with self._turn:
            self._known.begin(now)
            snapshot = _take(self._files, self._root, self._known, despite)
            self._known.only({file.path for file in snapshot.files})
            return snapshot


def _take(files: Files, root: Path, known: Known[ManifestFile], despite: str) -> Snapshot:
    before = _read_once(files, root, known, despite)
    for _ in range(_READINGS):
        after = _read_once(files, root, known, despite)
        if after == before:
            return after
        before = after
    raise SourceUnavailable(
        Reason.SOURCE_BUSY,
        f"the files in {root} keep changing; waiting until they hold still",
        remedy="find out what writes there without pause",
    )


def _read_once(files: Files, root: Path, known: Known[ManifestFile], despite: str) -> Snapshot:
    try:
        info = files.info(root)
        if not info.is_directory:
            raise SourceUnavailable(Reason.SOURCE_MISSING, f"{root} is not a directory; nothing is changed or deleted")
        real = files.resolve(root)
        git = find_git(files, real)
        operation = find_unfinished(files, git) if git is not None else None
        if operation is not None and operation.sign != despite:
            message = f"waiting for git in {root}: {operation}"
            raise SourceUnavailable(Reason.SOURCE_BUSY, message, operation.sign, operation.remedy)
        found = tuple(_entries(files, root, real, known))
        marker, approval = _note(files, root / MARKER), _note(files, root / APPROVAL)
    except OSError as err:
        message = f"{root} cannot be read ({err.strerror or err}); nothing is changed or deleted"
        raise SourceUnavailable(Reason.SOURCE_MISSING, message) from err
    return Snapshot(
        identity=(info.device, info.inode),
        marker=marker,
        files=tuple(entry for entry in found if isinstance(entry, ManifestFile)),
        rejected=tuple(entry for entry in found if isinstance(entry, RejectedFile)),
        is_versioned=git is not None,
        approval=approval or "",
        unfinished=operation.sign if operation is not None else "",
    )


def _entries(files: Files, root: Path, real: Path, known: Known[ManifestFile]) -> Iterator[ManifestFile | RejectedFile]:
    paths = [path for path in files.walk(root) if path.name.endswith(_SUFFIXES) and not path.name.startswith(".")]
    total, below = 0, len(root.as_posix().rstrip("/")) + 1
    for path in paths[:MAX_FILES]:
        entry = _entry(files, path, path.as_posix()[below:], real, known)
        if isinstance(entry, ManifestFile):
            total += len(entry.data)
            if total > MAX_SNAPSHOT_BYTES:
                entry = _reject(entry.path, "is left out: the directory holds more than 20 MiB of manifests")
        yield entry
    if len(paths) > MAX_FILES:
        first = paths[MAX_FILES].relative_to(root).as_posix()
        left_out = len(paths) - MAX_FILES
        yield _reject(
            first, f"is left out with all that follow ({left_out}): the directory holds over {MAX_FILES:,} manifests"
        )


def _entry(files: Files, path: Path, name: str, real: Path, known: Known[ManifestFile]) -> ManifestFile | RejectedFile:
    if not _is_text(name):
        return _reject(os.fsencode(name).decode(errors="replace"), "has a name that is not UTF-8; rename it")
    try:
        info = files.info(path)
        if (entry := known.get(name, info)) is not None:
            return entry
        if refusal := _refusal(info, files.resolve(path), real):
            return _reject(name, refusal, may_declare=info.is_regular)
        data = files.read(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        return _reject(name, "is a symbolic link to nothing; mend or remove it")
    except OSError as err:
        why = "is a symbolic link to itself" if err.errno == errno.ELOOP else f"cannot be read: {err.strerror or err}"
        return _reject(name, why)
    if len(data) > MAX_FILE_BYTES:
        return _reject(name, "is larger than 1 MiB")
    entry = ManifestFile(name, data, _digest(data))
    known.keep(name, info, entry)
    return entry


def _refusal(info: FileInfo, real_path: Path, real_root: Path) -> str | None:
    if info.is_directory:
        return "is a directory, not a manifest; rename it"
    if not info.is_regular:
        return "is not a regular file"
    if not real_path.is_relative_to(real_root):
        return "is a symbolic link that leads out of the directory; put the file itself there"
    return "is larger than 1 MiB" if info.size > MAX_FILE_BYTES else None


def _reject(name: str, message: str, *, may_declare: bool = True) -> RejectedFile:
    return RejectedFile(Problem(file=name, line=0, field="", message=message), may_declare)


def _note(files: Files, path: Path) -> str | None:
    try:
        data = files.read(path, _NOTE_BYTES)
    except OSError:
        return None
    return data.decode(errors="replace").strip()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
