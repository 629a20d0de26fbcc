"""The manifest directory as one operator process has it: its own writes are touches of the world too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skyward.contracts import Files
from tests.simulation.process import Process, When


class SeamFiles:
    """Implements `contracts.Files`. Writing is synchronous: who dies in it goes on to its next await, and changes nothing more."""

    def __init__(self, files: Files, process: Process) -> None:
        self._files = files
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        dies = self._process.touch(f"write {path.name}")
        if self._process.dead or dies(When.BEFORE):
            return
        self._files.write(path, data, mode)
        dies(When.EFFECT)
        dies(When.AFTER)

    def remove(self, path: Path) -> None:
        dies = self._process.touch(f"remove {path.name}")
        if self._process.dead or dies(When.BEFORE):
            return
        self._files.remove(path)
        dies(When.EFFECT)
        dies(When.AFTER)
