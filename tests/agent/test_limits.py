"""What one task may use of its node, and what happens to one that takes more: under a real agent."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from skyward_agent.children import MOST_PROCESSES
from skyward_agent.wire import messages as wire
from tests.agent.conftest import AgentHome
from tests.agent.gateway import CONFIGURE, Authority, StubGateway
from tests.agent.stories import until, wait_for, with_agent


@pytest.mark.slow
def test_a_fork_bomb_is_stopped_whole_and_harms_nobody_else(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    flag = tmp_path / "go"

    def bomb() -> None:
        import os
        import time

        os.setsid = os.getpid  # type: ignore[assignment] # nothing escapes by a session of its own
        while True:
            try:
                if os.fork() == 0:
                    continue
            except OSError:
                pass
            time.sleep(0.05)  # doubles some twenty times a second, so that the host stays usable

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        other = gateway.lease(wait_for, str(flag))
        await gateway.until(lambda: other in gateway.started, "it to begin")
        report = await gateway.report_of(gateway.lease(bomb), 60.0)
        flag.touch()

        assert report.outcome == wire.CHILD_DIED
        assert report.failure is not None
        assert f"more than the {MOST_PROCESSES} that one task may have" in report.failure.message
        assert int(report.failure.evidence["processes"]) > MOST_PROCESSES
        assert await gateway.value(other) == "waited"
        assert await gateway.value(gateway.lease(lambda: "next")) == "next"
        await until(lambda: len(home.processes()) == 3)  # the agent and a child for each lane

    with_agent(home, authority, body, replace(CONFIGURE, lanes=2))


@pytest.mark.slow
def test_memory_of_the_processes_that_a_task_starts_counts(home: AgentHome, authority: Authority) -> None:
    def grows_in_parts() -> None:
        import os
        import time

        kept = []
        for _ in range(6):
            if os.fork() == 0:
                kept.append(b"x" * (64 * 2**20))
                time.sleep(300)
                os._exit(0)
        time.sleep(300)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        report = await gateway.report_of(gateway.lease(grows_in_parts))

        assert report.outcome == wire.OUT_OF_MEMORY
        assert report.failure is not None
        assert int(report.failure.evidence["peak_bytes"]) > 256 * 2**20
        await until(lambda: len(home.processes()) == 2)

    with_agent(home, authority, body, replace(CONFIGURE, memory_bytes=256 * 2**20))


@pytest.mark.slow
def test_an_agent_says_what_keeps_its_tasks_within_their_limits(home: AgentHome, authority: Authority) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        assert gateway.hellos[0].limits in ("cgroup", "watch")

    with_agent(home, authority, body)


@pytest.mark.slow
def test_a_notice_on_the_node_is_in_the_next_heartbeat_and_can_be_taken_back(
    home: AgentHome, authority: Authority
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        notice = home.path / "notice"
        notice.write_text("1700000000 spot reclaim\n")
        await gateway.until(lambda: gateway.heartbeats[-1].notice_at > 0, "the notice")
        beat = gateway.heartbeats[-1]
        notice.unlink()
        await gateway.until(lambda: gateway.heartbeats[-1].notice_at == 0, "it to be taken back")

        assert (beat.notice_at, beat.notice) == (1700000000.0, "spot reclaim")

    with_agent(home, authority, body)
