"""The local driver over processes that only pretend: the same contract, and what is hard to do to a real process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from skyward.contracts import Driver, ProcessId
from skyward.drivers.local.driver import LocalDriver
from skyward.facts import InstanceState, LaunchRequest
from skyward.system.clock import SystemClock, SystemIds
from tests.contracts.driver_suite import OWNER, DriverSuite
from tests.fakes.processes import FakeProcesses


def listen(argv: Sequence[str], cwd: Path) -> None:
    """What a node's SSH server does first."""
    (Path(argv[-1]) / "port").write_text("2222")


def driver_on(processes: FakeProcesses, directory: Path) -> LocalDriver:
    return LocalDriver(
        directory / "nodes",
        processes=processes,
        clock=SystemClock(),
        ids=SystemIds(),
        python="/usr/bin/python3",
        uv_dir="",
        cache=directory / "cache",
    )


class TestLocalDriverOnFakeProcesses(DriverSuite):
    def open(self, directory: Path) -> AbstractAsyncContextManager[Driver]:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Driver]:
            yield driver_on(FakeProcesses(on_spawn=listen), directory)

        return opened()


async def _request(driver: LocalDriver) -> LaunchRequest:
    (offering,) = await driver.offerings({})
    return LaunchRequest("abcdef-0001", OWNER, "pool-uid", "default/hello", 1, offering, "ssh-ed25519 AAAA test")


def test_a_process_number_that_was_given_away_again_is_not_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        processes = FakeProcesses(on_spawn=listen)
        driver = driver_on(processes, tmp_path)
        await driver.create(await _request(driver))
        (server,) = processes.living

        processes.die(server)
        processes.living[ProcessId(server.pid, server.started + 1, server.boot)] = {}
        (instance,) = (await driver.list(OWNER)).instances
        await driver.delete(instance.id)

        assert instance.state is InstanceState.FAILED
        assert len(processes.living) == 1, "the stranger lives on"

    asyncio.run(scenario())


def test_deleting_kills_what_bears_the_nodes_mark_wherever_it_hangs(tmp_path: Path) -> None:
    async def scenario() -> None:
        processes = FakeProcesses(on_spawn=listen)
        driver = driver_on(processes, tmp_path)
        (instance,) = (await driver.create(await _request(driver))).instances
        (server,) = processes.living
        processes.living[ProcessId(7, 7, server.boot)] = dict(processes.living[server])

        await driver.delete(instance.id)

        assert processes.living == {}
        assert (await driver.list(OWNER)).instances == ()

    asyncio.run(scenario())
