"""Many agents in one process, for the measurement of `agents`: they join over the real wire and answer each lease with how long
it took to arrive. Reads one identity per line (JSON); ends when its input does."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "operator"), str(ROOT / "agent")]

from hack.benches.agents import Agent  # noqa: E402
from skyward_agent.wire.messages import SUCCEEDED, Lease, Report  # noqa: E402


def answer(lease: Lease) -> Report:
    """Its arguments say when it was submitted, by the clock that all processes of a host share."""
    late_s = time.monotonic() - float(lease.arguments)
    return Report(lease.id, SUCCEEDED, b"%.6f" % late_s, seconds=0.0)


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    agents: list[asyncio.Task[None]] = []
    contexts: dict[str, ssl.SSLContext] = {}
    while line := await reader.readline():
        identity: dict[str, Any] = json.loads(line)
        ca = identity["ca"]
        contexts[ca] = contexts.get(ca) or ssl.create_default_context(cadata=ca)
        host, _, port = identity["endpoint"].rpartition(":")
        agent = Agent(identity["node"], identity["join_token"], answer)
        agents.append(asyncio.create_task(agent.run(host, int(port), contexts[ca])))
    for agent_task in agents:
        agent_task.cancel()
    await asyncio.gather(*agents, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
