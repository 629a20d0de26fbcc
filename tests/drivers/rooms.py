"""Real local nodes for tests: opened in a temporary directory, and nothing of them is left in the end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import NAMESPACE_OID, uuid4, uuid5

import asyncssh

from skyward.api import Json
from skyward.drivers.local.driver import LocalDriver
from skyward.facts import Instance, InstanceState, LaunchRequest, Offering
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.processes import SystemProcesses

OWNER = "installation-1"
PATIENCE_S = 20.0


def make_driver(root: Path, cache: Path, environment: Mapping[str, str] | None = None) -> LocalDriver:
    return LocalDriver(
        root,
        processes=SystemProcesses(),
        clock=SystemClock(),
        ids=SystemIds(),
        python=sys.executable,
        uv_dir=str(Path(sys.executable).parent),
        cache=cache,
        environment=os.environ if environment is None else environment,
    )


@asynccontextmanager
async def local_driver(directory: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[LocalDriver]:
    driver = make_driver(directory / "nodes", directory / "cache", environment)
    try:
        yield driver
    finally:
        for path in (directory / "nodes").glob("[!.]*"):
            await driver.delete(path.name)
        assert list((directory / "nodes").glob("[!.]*")) == []


@dataclass(slots=True)
class Room:
    """A driver with a client key, and words to use it."""

    directory: Path
    driver: LocalDriver
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    tag: str = field(default_factory=lambda: uuid4().hex[:7])
    """Makes launches of this room unlike those of any other: processes are known, and killed, by their instance's id."""

    def request(self, number: int = 1, count: int = 1, options: Json | None = None) -> LaunchRequest:
        return LaunchRequest(
            launch=f"{self.tag}-{number:04}-{uuid5(NAMESPACE_OID, self.tag)}",
            owner=OWNER,
            pool_uid="pool-uid",
            pool="default/test",
            count=count,
            offering=Offering(provider="local", name="local"),
            authorized_key=self.key.export_public_key().decode(),
            options=options or {},
        )

    def nap(self, number: int) -> str:
        """Seconds for a `sleep` that no other test's is called like."""
        return f"97{number}.{int(self.tag, 16)}"

    async def node(self, options: Json | None = None) -> Instance:
        """A node that is up."""
        outcome = await self.driver.create(self.request(options=options))
        return await self.until(outcome.instances[0].id, InstanceState.UP)

    async def until(self, instance_id: str, state: InstanceState) -> Instance:
        async def is_so() -> bool:
            return (await self.driver.get(instance_id)).state is state

        await until(is_so)
        return await self.driver.get(instance_id)

    def connect(self, instance: Instance) -> asyncssh.connection._ACMWrapper[asyncssh.SSHClientConnection]:
        assert instance.host_key is not None
        return asyncssh.connect(
            instance.address,
            instance.port,
            username=instance.user,
            client_keys=[self.key],
            known_hosts=([asyncssh.import_public_key(instance.host_key)], [], []),
            agent_path=None,
            config=None,
        )

    def path(self, instance: Instance) -> Path:
        return self.directory / "nodes" / instance.id


@asynccontextmanager
async def room(directory: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[Room]:
    async with local_driver(directory, environment) as driver:
        yield Room(directory, driver)


async def until(is_so: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(patience_s):
        while not await is_so():  # noqa: ASYNC110 - the world outside has no event
            await asyncio.sleep(0.02)


def processes_of(instance_id: str) -> dict[int, str]:
    """Every living process that carries the node's marker: its number and command line."""
    found = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            if f"SKYWARD_INSTANCE={instance_id}".encode() in (path / "environ").read_bytes().split(b"\0"):
                found[int(path.name)] = (path / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found
