"""Another version of the agent, sent by the operator: put in place, started in the old one's stead, and never two at once."""

from __future__ import annotations

import io
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from skyward.bootstrap.agent_file import build_agent_file, digest_of
from skyward_agent.wire import messages as wire
from tests.agent.conftest import AgentHome
from tests.agent.gateway import Authority, StubGateway
from tests.agent.stories import ended, wait_for, with_agent


def newer(version: str) -> bytes:
    """The agent of another release."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(build_agent_file())) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "skyward_agent/__init__.py":
                data = re.sub(rb'__version__ = "[^"]*"', f'__version__ = "{version}"'.encode(), data)
            new.writestr(name, data)
    return made.getvalue()


def update(data: bytes) -> wire.Update:
    return wire.Update(digest_of(data), data)


@pytest.mark.slow
def test_an_idle_agent_becomes_the_version_that_its_operator_sent(home: AgentHome, authority: Authority) -> None:
    data = newer("99.0")

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        first = gateway.hellos[0]
        await gateway.value(gateway.lease(lambda: 1))
        gateway.send(update(data))
        await gateway.until(lambda: len(gateway.hellos) == 2 and gateway.is_ready, "the other version")
        second = gateway.hellos[1]

        assert first.digest == digest_of(build_agent_file())
        assert (second.agent_version, second.digest) == ("99.0", digest_of(data))
        assert second.pid == first.pid == agent.pid, "the process, and with it the lock, stays the same one"
        assert second.incarnation != first.incarnation
        assert await gateway.value(gateway.lease(lambda: 2)) == 2
        assert await ended(home.start()) == 0, "it is the only one"
        assert len([path for path in home.path.iterdir() if path.name.startswith("lib-")]) == 1

    with_agent(home, authority, body)


@pytest.mark.slow
def test_what_runs_is_not_disturbed_by_an_update_and_its_result_arrives(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    flag = tmp_path / "go"

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        running = gateway.lease(wait_for, str(flag))
        await gateway.until(lambda: running in gateway.started, "it to begin")
        gateway.send(update(newer("99.0")))
        await gateway.until(lambda: (home.path / "agent.pyz").stat().st_size != len(build_agent_file()), "the file")
        hellos_meanwhile = len(gateway.hellos)
        gateway.acknowledge = False
        flag.touch()
        report = await gateway.report_of(running)
        count = gateway.report_count
        await gateway.until(lambda: len(gateway.hellos) == 2, "the other version")
        gateway.acknowledge = True
        await gateway.until(lambda: gateway.report_count > count, "the report again, from the spool")

        assert hellos_meanwhile == 1
        assert report.outcome == wire.SUCCEEDED
        assert running in gateway.hellos[1].running

    with_agent(home, authority, body)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (wire.Update("0" * 16, build_agent_file()), "not those of its digest"),
        (update(b"no archive at all"), "does not run here"),
    ],
    ids=["torn", "broken"],
)
def test_a_file_that_does_not_run_here_changes_nothing(
    home: AgentHome, authority: Authority, sent: wire.Update, problem: str
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        gateway.send(sent)
        await gateway.until(lambda: problem in home.log, "its complaint")

        assert await gateway.value(gateway.lease(lambda: 1)) == 1
        assert len(gateway.hellos) == 1
        assert (home.path / "agent.pyz").read_bytes() == build_agent_file()
        assert not (home.path / "agent.pyz.new").exists()

    with_agent(home, authority, body)
