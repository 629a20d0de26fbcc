"""One real child process, without an agent around it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import skyward_agent
from skyward_agent.runner.conversation import ChildEvents
from skyward_agent.runner.messages import FunctionEnded
from skyward_agent.runner.output import OutputBuffer
from skyward_agent.runner.parcels import Parcels
from skyward_agent.runner.process import Child, ChildPlace, child_environment
from skyward_agent.wire.messages import AttemptId, Failure, Lease, Output
from tests.agent.payloads import pickled_arguments, pickled_function

Answer = FunctionEnded | tuple[str, Failure]


class RunnerBench:
    """Runs functions in one child; starts another when that one died."""

    def __init__(self, directory: Path) -> None:
        self.tasks = directory / "tasks"
        self.tasks.mkdir()
        library = Path(skyward_agent.__file__).parents[1]
        environment = child_environment(dict(os.environ), sys.executable)
        self.place = ChildPlace(sys.executable, str(library), self.tasks, environment)
        self._events = ChildEvents(self._ready, lambda child: None, self._ended, self._withdrawn, self._died)
        self._count = 0
        self.child: Child | None = None
        self.outputs: list[Output] = []
        self.withdrawn: list[AttemptId] = []
        self.answer: asyncio.Future[Answer]
        self.is_dead = asyncio.Event()
        self._is_ready = asyncio.Event()

    async def start(self) -> Child:
        """A warm child: the one there is, or a new one."""
        if self.child is None:
            self._is_ready.clear()
            self.is_dead.clear()
            self.child = Child(0, 1, self.place, self._events)
            self.child.start()
        async with asyncio.timeout(20):
            await self._is_ready.wait()
        return self.child

    async def begin(
        self, function: Callable[..., Any], *args: Any, env: dict[str, str] | None = None, **fields: Any
    ) -> Child:
        child = await self.start()
        self.outputs.clear()
        self.answer = asyncio.get_running_loop().create_future()
        digest, data = pickled_function(function)
        self._count += 1
        attempt = AttemptId("task", self._count, 1, "secret")
        lease = Lease(attempt, digest, pickled_arguments(*args))
        limited = bool(fields.pop("memory_limited", False))
        child.run(replace(lease, **fields), data, env or {}, memory_limited=limited)
        return child

    async def run(self, function: Callable[..., Any], *args: Any, **fields: Any) -> Answer:
        await self.begin(function, *args, **fields)
        async with asyncio.timeout(30):
            return await self.answer

    async def value(self, function: Callable[..., Any], *args: Any, **fields: Any) -> Any:
        answer = await self.run(function, *args, **fields)
        assert isinstance(answer, FunctionEnded), answer
        assert answer.outcome == "Succeeded", answer
        return Parcels(str(self.tasks)).open(answer.value)[0]

    def text(self, stream: str = "stdout") -> str:
        return b"".join(output.data for output in self.outputs if output.stream == stream).decode(errors="replace")

    async def close(self) -> None:
        if self.child is not None:
            self.child.stop(kill=True)
            async with asyncio.timeout(10):
                await self.is_dead.wait()

    def _ready(self, child: Child) -> None:
        self._is_ready.set()

    def _ended(self, child: Child, ended: FunctionEnded, output: OutputBuffer) -> None:
        self.outputs += output.take()
        self.answer.set_result(ended)

    def _withdrawn(self, child: Child, attempts: tuple[AttemptId, ...]) -> None:
        self.withdrawn += attempts

    def _died(self, child: Child, outcome: str, failure: Failure, unbegun: tuple[AttemptId, ...]) -> None:
        self.withdrawn += unbegun
        self.child = None
        self.is_dead.set()
        if child.current is not None:
            self.outputs += child.current.output.take()
            self.answer.set_result((outcome, failure))


def with_bench(directory: Path, test: Callable[[RunnerBench], Any]) -> None:
    """Run one asynchronous test body with a bench, and end its child afterwards."""

    async def main() -> None:
        bench = RunnerBench(directory)
        try:
            await test(bench)
        finally:
            await bench.close()

    asyncio.run(main())
