"""A table of processes that only exist here: started, found, dead, killed with their tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skyward.contracts import ProcessId

BOOT = "boot-1"


@dataclass(slots=True)
class FakeProcesses:
    """Implements `contracts.Processes`. `on_spawn` does what the program would do first."""

    on_spawn: Callable[[Sequence[str], Path], None] = lambda argv, cwd: None
    living: dict[ProcessId, dict[str, str]] = field(default_factory=dict)
    """Each living process with its environment."""
    _spawned: int = 0

    def spawn(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> ProcessId:
        self._spawned += 1
        process = ProcessId(pid=1000 + self._spawned, started=self._spawned, boot=BOOT)
        self.living[process] = dict(env)
        log.touch()
        self.on_spawn(argv, cwd)
        return process

    def is_alive(self, process: ProcessId) -> bool:
        return process in self.living

    def kill_tree(self, root: ProcessId | None, *, marker: tuple[str, str]) -> int:
        name, value = marker
        doomed = [process for process, env in self.living.items() if process == root or env.get(name) == value]
        for process in doomed:
            del self.living[process]
        return len(doomed)

    def die(self, process: ProcessId) -> None:
        """It ends by itself."""
        del self.living[process]
