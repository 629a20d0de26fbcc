"""One throwaway authority, and agents that are ended with their test whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyward.bootstrap.agent_file import build_agent_file
from tests.agent.gateway import SERVER_NAME, Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class AgentHome:
    """A node's home with the agent file in it, and the agents that were started there."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        self.path = directory / "home of node" / ".skyward"
        self.path.mkdir(parents=True)
        self.marker = f"agent-test-{os.getpid()}-{directory.name}"
        self._authority = authority
        self._agents: list[subprocess.Popen[bytes]] = []
        (self.path / "agent.pyz").write_bytes(build_agent_file())

    def identify(self, port: int, node: str = "node-uid", token: str = "join") -> None:
        identity = {
            "node": node,
            "name": "hello-0-abcde",
            "endpoint": f"127.0.0.1:{port}",
            "server_name": SERVER_NAME,
            "ca": self._authority.pem,
            "join_token": token,
        }
        (self.path / "agent.json").write_text(json.dumps(identity))

    def start(self, **env: str) -> subprocess.Popen[bytes]:
        """As the bootstrap's last step does."""
        command = [sys.executable, str(self.path / "agent.pyz"), "run", "--home", str(self.path)]
        with open(self.path / "start.log", "ab") as log:
            agent = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "AGENT_TEST": self.marker, **env},
            )
        self._agents.append(agent)
        return agent

    def processes(self) -> list[int]:
        """Everything that this home's agents started and that still lives."""
        found = []
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if path.name.isdigit() and f"AGENT_TEST={self.marker}".encode() in (path / "environ").read_bytes():
                    found.append(int(path.name))
        return found

    @property
    def log(self) -> str:
        return (self.path / "agent.log").read_text()

    def end(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for agent in self._agents:
            agent.wait(10)


@pytest.fixture
def home(tmp_path: Path, authority: Authority) -> Iterator[AgentHome]:
    made = AgentHome(tmp_path, authority)
    yield made
    made.end()
