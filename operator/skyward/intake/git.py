"""Whether Git is in the middle of something in a directory: a half-done checkout must not be taken for what is wanted."""

from __future__ import annotations

from pathlib import Path

from skyward.contracts import Files

_SIGNS = {
    "index.lock": "a command is running (index.lock exists)",
    "rebase-merge": "a rebase is not finished",
    "rebase-apply": "a rebase or am is not finished",
    "MERGE_HEAD": "a merge is not finished",
    "CHERRY_PICK_HEAD": "a cherry-pick is not finished",
    "BISECT_LOG": "a bisect is not finished",
}
_POINTER = "gitdir:"
_POINTER_BYTES = 4096


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


def unfinished(files: Files, git: Path) -> str | None:
    """What Git has not finished there, in words."""
    return next((words for name, words in _SIGNS.items() if _exists(files, git / name)), None)


def _exists(files: Files, path: Path) -> bool:
    try:
        files.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
