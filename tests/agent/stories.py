"""A real agent process and a gateway for it, around one asynchronous test body."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from skyward_agent.wire import messages as wire
from tests.agent.conftest import AgentHome
from tests.agent.gateway import CONFIGURE, Authority, StubGateway

Body = Callable[[AgentHome, StubGateway, subprocess.Popen[bytes]], Awaitable[None]]


def with_agent(
    home: AgentHome, authority: Authority, body: Body, configure: wire.Configure = CONFIGURE, **env: str
) -> None:
    """Run one asynchronous test body with a gateway and a ready agent."""

    async def main() -> None:
        gateway = StubGateway(authority, configure)
        await gateway.start()
        home.identify(gateway.port)
        agent = home.start(**env)
        await gateway.until(lambda: gateway.is_ready, f"a ready agent; {home.path}")
        await body(home, gateway, agent)
        home.end()
        await gateway.vanish()

    asyncio.run(main())


async def ended(agent: subprocess.Popen[bytes], timeout_s: float = 10.0) -> int:
    return await asyncio.to_thread(agent.wait, timeout_s)


async def until(is_so: Callable[[], Any]) -> None:
    """Bounded polling of real processes."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true within 10 s")


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024


def wait_for(path: str) -> str:
    import time
    from pathlib import Path

    print("waiting", flush=True)
    while not Path(path).exists():
        time.sleep(0.01)
    return "waited"
