"""A real Git repository of manifests, with commands that can be held up in the middle and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.intake.world import manifest

PATIENCE_S = 20.0
_WAITS = 'while [ -e "{gate}" ]; do sleep 0.02; done; cat'
_SETTINGS = {
    "user.name": "Tester",
    "user.email": "tester@example.invalid",
    "init.defaultBranch": "main",
    "protocol.file.allow": "always",
    "advice.detachedHead": "false",
    "gc.auto": "0",
}


class Repository:
    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.gate = scratch / f"{root.name}.gate"
        """While this file exists, a checkout of `*.yaml` files stops before it has their content."""
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet")
        self.git("config", "filter.slow.smudge", _WAITS.format(gate=self.gate))
        (root / ".git" / "info" / "attributes").write_text("*.yaml filter=slow\n")

    def git(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(self._command(words), cwd=self.root, env=_environment(), capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """The command, stopped in the middle of its work."""
        self.gate.touch()
        process = subprocess.Popen(
            self._command(words),
            cwd=self.root,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._until_locked()
        return process

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        self.gate.unlink()
        assert process.wait(PATIENCE_S) == 0

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        self.gate.unlink()

    def commit(self, message: str, **nodes: int | None) -> str:
        """These pools with so many nodes, or (None) no longer there; the commit's id."""
        for name, count in nodes.items():
            file = self.root / f"{name}.yaml"
            if count is None:
                file.unlink()
            else:
                file.write_text(manifest(name, count))
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def _until_locked(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while not list((self.root / ".git").rglob("index.lock")):
            assert time.monotonic() < end, "git did not come to its checkout"
            time.sleep(0.01)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return ["git", *settings, *words]


def _environment() -> dict[str, str]:
    """Without the settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_EDITOR": "true"}
