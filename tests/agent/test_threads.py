"""`executor: thread`: lanes that are threads of one real process, under a real agent."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyward_agent.wire import messages as wire
from tests.agent.conftest import AgentHome
from tests.agent.gateway import CONFIGURE, Authority, StubGateway
from tests.agent.stories import until, wait_for, with_agent

THREADS = replace(CONFIGURE, lanes=3, executor=wire.THREAD, env={"POOL": "here"})


def waits_in_c(seconds: float) -> None:
    """Where no exception reaches it."""
    import time

    print("deaf", flush=True)
    time.sleep(seconds)


@pytest.mark.slow
def test_lanes_are_threads_of_one_process_and_run_at_once(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    flag = tmp_path / "go"

    def where(path: str) -> tuple[int, str, int]:
        import os
        import time
        from pathlib import Path

        from skyward_agent.wire.world import node_info

        while not Path(path).exists():
            time.sleep(0.01)
        return os.getpid(), os.environ["POOL"], node_info().lane

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempts = [gateway.lease(where, str(flag)) for _ in range(3)]
        await gateway.until(lambda: set(attempts) <= set(gateway.started), "all to begin")
        flag.touch()
        found = [await gateway.value(attempt) for attempt in attempts]
        gateway.send(wire.Dismiss("done"))
        await until(lambda: agent.poll() is not None)

        assert len({pid for pid, _, _ in found}) == 1
        assert {variable for _, variable, _ in found} == {"here"}
        assert sorted(lane for _, _, lane in found) == [0, 1, 2]
        assert home.processes() == []

    with_agent(home, authority, body, THREADS)


@pytest.mark.slow
def test_each_threads_output_is_its_own_and_comes_before_its_report(home: AgentHome, authority: Authority) -> None:
    def says(word: str) -> None:
        import sys

        for number in range(50):
            print(word, number)
        print(f"{word} in error", file=sys.stderr)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempts = {word: gateway.lease(says, word) for word in ("one", "two", "three", "four")}
        for word, attempt in attempts.items():
            await gateway.value(attempt)

            assert gateway.text(attempt) == "".join(f"{word} {number}\n" for number in range(50))
            assert gateway.text(attempt, "stderr") == f"{word} in error\n"

    with_agent(home, authority, body, THREADS)


@pytest.mark.slow
def test_a_thread_that_heeds_is_stopped_alone(home: AgentHome, authority: Authority, tmp_path: Path) -> None:
    flag = tmp_path / "go"

    def spins() -> None:
        import time

        while True:
            time.sleep(0.01)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        other = gateway.lease(wait_for, str(flag))
        late = gateway.lease(spins, timeout_s=0.2)
        unwanted = gateway.lease(spins)
        await gateway.until(lambda: unwanted in gateway.started, "it to begin")
        gateway.send(wire.Abandon((unwanted,), "cancelled by its user"))

        assert (await gateway.report_of(late)).outcome == wire.TIMED_OUT
        assert (await gateway.report_of(unwanted)).outcome == wire.CANCELLED
        assert await gateway.value(gateway.lease(lambda: "next")) == "next"
        flag.touch()
        assert await gateway.value(other) == "waited"

    with_agent(home, authority, body, THREADS)


@pytest.mark.slow
def test_a_thread_that_does_not_heed_takes_the_process_and_the_others_are_told_why(
    home: AgentHome, authority: Authority
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        bystander = gateway.lease(waits_in_c, 300.0)
        await gateway.until(lambda: "deaf" in gateway.text(bystander), "its words")
        deaf = gateway.lease(waits_in_c, 300.0, timeout_s=0.2)

        assert (await gateway.report_of(deaf)).outcome == wire.TIMED_OUT
        told = await gateway.report_of(bystander)
        assert told.outcome == wire.CHILD_DIED
        assert told.failure is not None
        assert "another task of the same process had to be stopped" in told.failure.message
        assert told.failure.evidence["signal"] == "SIGKILL"
        assert await gateway.value(gateway.lease(lambda: "next")) == "next"

    with_agent(home, authority, body, THREADS)


@pytest.mark.slow
def test_a_crash_ends_all_threads_with_evidence_and_fresh_ones_come(home: AgentHome, authority: Authority) -> None:
    def crashes() -> None:
        import os

        os._exit(7)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        bystander = gateway.lease(waits_in_c, 300.0)
        await gateway.until(lambda: "deaf" in gateway.text(bystander), "its words")
        reports = [await gateway.report_of(one) for one in (gateway.lease(crashes), bystander)]

        assert [report.outcome for report in reports] == [wire.CHILD_DIED] * 2
        assert all(report.failure and report.failure.evidence["exit_code"] == "7" for report in reports)
        assert await gateway.value(gateway.lease(lambda: "next")) == "next"

    with_agent(home, authority, body, THREADS)


@pytest.mark.slow
def test_variables_of_one_task_are_refused_where_threads_share_them(home: AgentHome, authority: Authority) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        report = await gateway.report_of(gateway.lease(lambda: "ran", env={"MINE": "1"}))

        assert report.outcome == wire.FAILED
        assert report.failure is not None
        assert "share their variables" in report.failure.message
        assert await gateway.value(gateway.lease(lambda: "next")) == "next"

    with_agent(home, authority, body, THREADS)


@pytest.mark.slow
def test_a_changed_executor_replaces_each_lane_as_it_gets_free(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    flag = tmp_path / "go"

    def pid(_: Any = None) -> int:
        import os

        return os.getpid()

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        running = gateway.lease(wait_for, str(flag))
        await gateway.until(lambda: running in gateway.started, "it to begin")
        gateway.send(THREADS)
        shared = {await gateway.value(gateway.lease(pid)) for _ in range(4)}
        flag.touch()

        assert await gateway.value(running) == "waited"
        assert len(shared) == 1
        gateway.send(replace(CONFIGURE, lanes=1))
        own = await gateway.value(gateway.lease(pid))
        assert own not in shared
        await until(lambda: shared.isdisjoint(home.processes()))

    with_agent(home, authority, body, replace(CONFIGURE, lanes=1))
