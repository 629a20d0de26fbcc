"""The agent as a real process, started from the agent file, against a gateway with real TLS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skyward_agent.wire import messages as wire
from tests.agent.conftest import AgentHome
from tests.agent.gateway import CONFIGURE, Authority, StubGateway
from tests.agent.stories import ended, peak_memory, until, wait_for, with_agent


@pytest.mark.slow
def test_joins_runs_reports_and_leaves_no_process_when_dismissed(home: AgentHome, authority: Authority) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        hello = gateway.hellos[0]
        values = [await gateway.value(gateway.lease(lambda x: x * x, number)) for number in range(5)]
        beat = gateway.heartbeats[-1]
        gateway.send(wire.Dismiss("the pool was deleted"))
        status = await ended(agent)

        assert (hello.node, hello.token, hello.running) == ("node-uid", "join", ())
        assert values == [0, 1, 4, 9, 16]
        assert {"cpu_percent", "memory_used_bytes", "disk_used_bytes", "load_1m"} <= beat.metrics.keys()
        assert (beat.ready, beat.lanes, beat.problem) == (True, 1, "")
        assert status == 0
        assert home.processes() == []
        assert not (home.path / "credential").exists()
        assert await ended(home.start()) == 0
        assert len(gateway.hellos) == 1, "a dismissed home never runs an agent again"

    with_agent(home, authority, body)


@pytest.mark.slow
def test_starts_before_output_before_report(home: AgentHome, authority: Authority) -> None:
    def speaks() -> None:
        import sys

        for number in range(200):
            print(f"line {number}")
        print("done", file=sys.stderr)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempts = [gateway.lease(speaks) for _ in range(3)]
        for attempt in attempts:
            await gateway.report_of(attempt)

        for attempt in attempts:
            key = (attempt.task, attempt.item, attempt.attempt)
            mine = [kind for kind, of in gateway.story if of in (attempt, key)]
            assert mine[0] == "started"
            assert mine[-1] == "report"
            said = mine.index("output")
            # Handed from a busy child to another one it starts again, but never after it has said something.
            assert set(mine[:said]) == {"started"}
            assert set(mine[said:-1]) == {"output"}
            assert gateway.text(attempt) == "".join(f"line {number}\n" for number in range(200))
            assert gateway.text(attempt, "stderr") == "done\n"

    with_agent(home, authority, body)


@pytest.mark.slow
def test_output_arrives_while_the_function_still_runs(home: AgentHome, authority: Authority, tmp_path: Path) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempt = gateway.lease(wait_for, str(tmp_path / "go"))
        await gateway.until(lambda: gateway.text(attempt) == "waiting\n", "its first line")

        assert attempt not in gateway.reports
        (tmp_path / "go").touch()
        assert await gateway.value(attempt) == "waited"

    with_agent(home, authority, body)


@pytest.mark.slow
def test_finished_results_survive_a_vanished_gateway_and_the_agents_own_end(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempt = gateway.lease(wait_for, str(tmp_path / "go"))
        await gateway.until(lambda: attempt in gateway.started, "its start")
        await gateway.vanish()
        (tmp_path / "go").touch()
        await until(lambda: list((home.path / "spool").glob("*.report")))
        agent.send_signal(signal.SIGKILL)
        await ended(agent)
        home.start()
        await gateway.start()

        assert await gateway.value(attempt) == "waited"
        assert gateway.hellos[-1].running == (attempt,)
        assert gateway.hellos[-1].token == "credential"
        assert gateway.hellos[-1].incarnation != gateway.hellos[0].incarnation
        await until(lambda: not list((home.path / "spool").glob("*.report")))

    with_agent(home, authority, body)


@pytest.mark.slow
def test_reconnects_and_goes_on_when_the_gateway_comes_back(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        gateway.acknowledge = False
        first = gateway.lease(lambda: "first")
        await gateway.report_of(first)
        second = gateway.lease(wait_for, str(tmp_path / "go"))
        await gateway.until(lambda: second in gateway.started, "its start")
        await gateway.vanish()
        gateway.reports.clear()
        gateway.acknowledge = True
        await gateway.start()
        (tmp_path / "go").touch()

        assert [await gateway.value(first), await gateway.value(second)] == ["first", "waited"]
        assert set(gateway.hellos[-1].running) == {first, second}
        assert gateway.hellos[-1].incarnation == gateway.hellos[0].incarnation

    with_agent(home, authority, body)


@pytest.mark.slow
def test_attempts_that_are_no_longer_its_own_are_stopped_without_a_report(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempt = gateway.lease(wait_for, str(tmp_path / "never"))
        await gateway.until(lambda: attempt in gateway.started, "its start")
        await gateway.vanish()
        gateway.abandon_on_welcome = lambda hello: hello.running
        await gateway.start()

        assert await gateway.value(gateway.lease(lambda: "next")) == "next"
        assert attempt not in gateway.reports

    with_agent(home, authority, body)


@pytest.mark.slow
def test_a_second_agent_ends_at_once_and_a_killed_ones_children_are_cleared_away(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    def leaves_much(path: str) -> None:
        import os
        import subprocess
        import time
        from pathlib import Path

        subprocess.Popen(["setsid", "sleep", "300"], start_new_session=True)
        Path("file").write_text("left")
        print("here", os.getcwd())
        time.sleep(300)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempt = gateway.lease(leaves_much, "")
        await gateway.until(lambda: "here" in gateway.text(attempt), "its words")

        assert await ended(home.start()) == 0
        agent.send_signal(signal.SIGKILL)
        await ended(agent)
        left = home.processes()
        replacement = home.start()
        await gateway.until(lambda: len(gateway.hellos) == 2 and gateway.is_ready, "the next agent")

        assert left, "the task's own process outlives the agent"
        assert gateway.hellos[-1].running == ()
        assert not set(left) & set(home.processes())
        assert list((home.path / "tasks").iterdir()) == []
        assert int((home.path / "agent.pid").read_text()) == replacement.pid

    with_agent(home, authority, body)


@pytest.mark.slow
def test_allocating_past_the_limit_is_out_of_memory_and_harms_nobody_else(
    home: AgentHome, authority: Authority
) -> None:
    def grows() -> int:
        parts = []
        for _ in range(10_000):
            parts.append(b"x" * (8 * 2**20))
        return len(parts)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        report = await gateway.report_of(gateway.lease(grows))

        assert report.outcome == wire.OUT_OF_MEMORY
        assert report.failure is not None
        assert "256 MiB" in report.failure.message
        assert int(report.failure.evidence["peak_bytes"]) > 256 * 2**20
        assert await gateway.value(gateway.lease(lambda: "next")) == "next"
        assert agent.poll() is None

    with_agent(home, authority, body, replace(CONFIGURE, memory_bytes=256 * 2**20))


@pytest.mark.slow
def test_each_bad_end_has_its_outcome_and_the_next_task_runs(home: AgentHome, authority: Authority) -> None:
    def stubborn() -> None:
        import signal
        import time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        late = gateway.lease(stubborn, timeout_s=0.3)
        dead = gateway.lease(lambda: os._exit(7))
        wrong = gateway.lease(lambda: 1 / 0)
        fine = gateway.lease(lambda: "fine")

        assert (await gateway.report_of(late)).outcome == wire.TIMED_OUT
        died = await gateway.report_of(dead)
        assert died.outcome == wire.CHILD_DIED
        assert died.failure is not None
        assert died.failure.evidence["exit_code"] == "7"
        failed = await gateway.report_of(wrong)
        assert failed.outcome == wire.FAILED
        assert failed.failure is not None
        assert failed.failure.type == "ZeroDivisionError"
        assert await gateway.value(fine) == "fine"

    with_agent(home, authority, body)


@pytest.mark.slow
def test_a_cancelled_attempts_whole_tree_ends(home: AgentHome, authority: Authority) -> None:
    def forks() -> None:
        import os
        import subprocess
        import time

        subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM; sleep 300 & sleep 301"])
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(300)
            os._exit(0)
        print("forked")
        time.sleep(300)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempt = gateway.lease(forks)
        await gateway.until(lambda: "forked" in gateway.text(attempt), "its words")
        before = home.processes()
        gateway.send(wire.Abandon((attempt,), "cancelled by its user"))
        report = await gateway.report_of(attempt)

        assert len(before) >= 6
        assert report.outcome == wire.CANCELLED
        assert report.failure is not None
        assert report.failure.message == "cancelled by its user"
        await until(lambda: len(home.processes()) == 2)  # the agent and a fresh child

    with_agent(home, authority, body)


@pytest.mark.slow
def test_what_a_crashed_child_left_running_is_ended(home: AgentHome, authority: Authority) -> None:
    def leaves_a_daemon() -> None:
        import os
        import subprocess

        subprocess.Popen(["setsid", "sleep", "300"], start_new_session=True)
        os.abort()

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        report = await gateway.report_of(gateway.lease(leaves_a_daemon))

        assert report.outcome == wire.CHILD_DIED
        await until(lambda: len(home.processes()) == 2)

    with_agent(home, authority, body)


@pytest.mark.slow
def test_a_flood_of_output_neither_stops_heartbeats_nor_other_lanes(home: AgentHome, authority: Authority) -> None:
    def floods() -> None:
        import os

        for _ in range(1600):
            os.write(1, b"x" * 65535 + b"\n")

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        flood = gateway.lease(floods)
        values = [await gateway.value(gateway.lease(lambda x: x, number)) for number in range(20)]
        await gateway.value(flood)
        assert values == list(range(20))
        assert "bytes dropped]" in gateway.text(flood)
        assert len(gateway.text(flood)) < 64 * 2**20
        assert peak_memory(agent.pid) < 96 * 2**20

    with_agent(home, authority, body, replace(CONFIGURE, lanes=2))


@pytest.mark.slow
def test_a_functions_place_and_variables(home: AgentHome, authority: Authority) -> None:
    def looks() -> tuple[Any, ...]:
        import os

        import skyward as sky

        info = sky.node_info()
        return (
            info.node,
            info.rank,
            info.world_size,
            info.head_address,
            [os.environ.get(name) for name in ("A", "B", "C")],
        )

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        world = (wire.Peer("n0", "10.0.0.1"), wire.Peer("n1", "10.0.0.2"))
        in_a_pool = await gateway.value(gateway.lease(looks, env={"C": "task"}))
        in_a_broadcast = await gateway.value(gateway.lease(looks, rank=1, world=world))

        assert in_a_pool == ("hello-0-abcde", 0, 1, "10.0.0.1", ["image", "pool", "task"])
        assert in_a_broadcast == ("hello-0-abcde", 1, 2, "10.0.0.1", ["image", "pool", "pool"])

    environment = {"A": "image", "B": "image", "C": "image"}
    (home.path / "environment").write_text(json.dumps(environment))
    with_agent(home, authority, body, replace(CONFIGURE, env={"B": "pool", "C": "pool"}))


@pytest.mark.slow
def test_functions_that_a_restarted_agent_lacks_are_asked_for(home: AgentHome, authority: Authority) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        gateway.withholds_functions = True

        assert await gateway.value(gateway.lease(lambda: "asked for")) == "asked for"

    with_agent(home, authority, body)


@pytest.mark.slow
def test_ends_in_time_when_told_and_leaves_nothing(home: AgentHome, authority: Authority) -> None:
    def stubborn() -> None:
        import signal
        import time

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("here")
        time.sleep(300)

    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        attempt = gateway.lease(stubborn)
        await gateway.until(lambda: "here" in gateway.text(attempt), "its words")
        agent.terminate()

        assert await ended(agent, 5.0) == 0
        assert home.processes() == []
        assert attempt not in gateway.reports

    with_agent(home, authority, body)


@pytest.mark.slow
def test_a_long_silent_operator_ends_the_agent_and_its_node(
    home: AgentHome, authority: Authority, tmp_path: Path
) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        await gateway.vanish()

        assert await ended(agent) == 0
        await until(lambda: (tmp_path / "off").exists())
        assert home.processes() == []

    command = f"touch '{tmp_path}/off'"
    with_agent(home, authority, body, replace(CONFIGURE, orphan_timeout_s=0.5), SKYWARD_POWEROFF=command)


@pytest.mark.slow
def test_follows_the_endpoint_file_that_a_tunnel_rewrites(home: AgentHome, authority: Authority) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        await gateway.vanish()
        gateway.port = 0
        await gateway.start()
        (home.path / "endpoint").write_text(f"127.0.0.1:{gateway.port}\n")

        assert await gateway.value(gateway.lease(lambda: "found")) == "found"

    with_agent(home, authority, body)


@pytest.mark.slow
@pytest.mark.parametrize("error", [wire.REFUSED_DISMISSED, wire.REFUSED_SUPERSEDED])
def test_a_refusal_for_good_ends_the_agent(home: AgentHome, authority: Authority, error: str) -> None:
    async def body(home: AgentHome, gateway: StubGateway, agent: subprocess.Popen[bytes]) -> None:
        gateway.refuse = wire.Refused(0, error, "no")
        await gateway.vanish()
        await gateway.start()

        assert await ended(agent) == 0
        assert (home.path / "dismissed").exists() is (error == wire.REFUSED_DISMISSED)

    with_agent(home, authority, body)


@pytest.mark.slow
def test_an_agent_trusts_only_its_own_authority(
    home: AgentHome, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def main() -> None:
        impostor = StubGateway(Authority(tmp_path_factory.mktemp("other")))
        await impostor.start()
        home.identify(impostor.port)
        home.start()
        await until(lambda: (home.path / "agent.log").exists() and "CERTIFICATE_VERIFY_FAILED" in home.log)

        assert impostor.hellos == []
        home.end()
        await impostor.vanish()

    asyncio.run(main())


def test_a_home_without_an_identity_is_one_clear_line(home: AgentHome) -> None:
    status = home.start().wait(10)
    said = (home.path / "start.log").read_text()

    assert status == 1
    assert said.count("\n") == 1
    assert "agent.json" in said
    assert "bootstrap this node again" in said
