"""Whether Git is in the middle of something in a directory: a half-done checkout must not be taken for what is wanted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skyward.contracts import Files

_SIGNS = {
    "index.lock": "a command is running (index.lock exists)",
    "rebase-merge": "a rebase is not finished",
    "rebase-apply": "a rebase or am is not finished",
    "MERGE_HEAD": "a merge is not finished",
    "CHERRY_PICK_HEAD": "a cherry-pick is not finished",
    "REVERT_HEAD": "a revert is not finished",
    "sequencer": "a series of cherry-picks or reverts is not finished",
    "BISECT_LOG": "a bisect is not finished",
}
_POINTER = "gitdir:"
_POINTER_BYTES = 4096
_MODULES_BYTES = 64 << 10
_MODULE = re.compile(r'^\s*\[submodule "([^"\\/.][^"\\]*)"\]', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What Git has not finished."""

    sign: str
    """Name of the file or directory that says so."""
    place: Path

    def __str__(self) -> str:
        return _SIGNS[self.sign]

    @property
    def remedy(self) -> str:
        return (
            f"finish or abort it; if nothing of it runs any more, remove {self.place}; "
            f"or have the files read as they are: skyctl approve {self.sign}"
        )


def find_git(files: Files, directory: Path) -> Path | None:
    """Git's own directory for the working tree that holds this directory. May raise OSError."""
    for parent in (directory, *directory.parents):
        candidate = parent / ".git"
        if not _exists(files, candidate):
            continue
        if files.info(candidate).is_directory:
            return candidate
        # A linked working tree or a submodule: the file says where.
        text = files.read(candidate, _POINTER_BYTES).decode(errors="replace").strip()
        return parent / text.removeprefix(_POINTER).strip() if text.startswith(_POINTER) else None
    return None


def find_unfinished(files: Files, git: Path) -> Unfinished | None:
    """The first thing that is not finished, in the working tree itself or in one of its submodules."""
    for place in (git, *_modules(files, git)):
        for sign in _SIGNS:
            if _exists(files, place / sign):
                return Unfinished(sign, place / sign)
    return None


def _modules(files: Files, git: Path) -> Iterator[Path]:
    """Where Git keeps the submodules that the working tree declares."""
    try:
        text = files.read(git.parent / ".gitmodules", _MODULES_BYTES).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in _MODULE.findall(text):
        yield git / "modules" / name


def _exists(files: Files, path: Path) -> bool:
    try:
        files.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
