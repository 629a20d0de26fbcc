"""`python -m tests.chaos.workload DIRECTORY PROFILE`: a client that always has work under way, and writes down what it is answered.

It may be killed at any moment: started again it reads its journal and asks for everything unanswered once more, under the
same keys. Once the run is quiet it finishes, asks for all it ever asked for once more, so that a second result of
anything would show, and ends with status 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import pickle
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cloudpickle

from skyward.client.config import load_config
from skyward.client.tasks import FollowedTask, TaskConnection, TaskRequest
from skyward.errors import SkyError
from skyward_agent.wire.messages import SUCCEEDED, Output, Result
from tests.chaos.place import Place, Record, append, records
from tests.chaos.profiles import PROFILES, Load

POOL = "work"
_PAUSE_S = 0.05
_RECONNECT_S = 3600.0
_REMEMBERED_S = 1800.0
"""The operator forgets finished tasks after an hour; asked for later, they would run once more."""
_MOST_ATTEMPTS = 100
"""Chaos takes many an attempt; none of these items may be given up."""


def note_execution(ledger: str, item: str, seconds: float) -> tuple[str, str]:
    """What runs on the nodes: leaves one line outside of everything, takes its time, and says which line was its own."""
    import json
    import os
    import time
    import uuid

    token = uuid.uuid4().hex
    line = {"item": item, "token": token, "machine": os.environ.get("SKYWARD_INSTANCE", ""), "pid": os.getpid()}
    descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, (json.dumps({"at": round(time.time(), 3)} | line) + "\n").encode())
    finally:
        os.close(descriptor)
    time.sleep(seconds)
    return item, token


class Call:
    """One submission, followed until each of its items is answered. Implements `Follower`."""

    def __init__(self, place: Place, record: Record, op: str) -> None:
        self.record = record
        self.open_items = set(record["items"])
        self.is_refused = False
        self._place = place
        self._op = op

    def accepted(self, task: FollowedTask) -> None:
        append(self._place.journal, "accepted", key=self.record["key"], items=self.record["items"], task=task.name)

    def results(self, results: Sequence[Result]) -> None:
        for result in results:
            item = self.record["items"][result.item]
            token = _token(result)
            append(self._place.journal, self._op, item=item, outcome=result.outcome, token=token)
            self.open_items.discard(item)

    def output(self, outputs: Sequence[Output]) -> None:
        return

    def failed(self, error: SkyError) -> None:
        append(self._place.journal, "refused", key=self.record["key"], error=f"{type(error).__name__}: {error}")
        self.is_refused = True


class Workload:
    def __init__(self, place: Place, load: Load) -> None:
        self._place = place
        self._load = load
        self._function = _same_function(place.root / "function.pickle")
        self._random = random.Random(place.root.name)

    async def run(self) -> None:
        async with _connected(self._place) as connection:
            await self._work(connection)
        async with _connected(self._place) as connection:
            await self._ask_again(connection)

    async def _work(self, connection: TaskConnection) -> None:
        """Until the run is quiet and everything is answered. What is refused is asked for again."""
        calls = [self._submit(connection, record, "result") for record in self._unanswered()]
        while calls or not self._place.quiet.exists():
            room = self._load.under_way - sum(len(call.open_items) for call in calls)
            while room > 0 and not self._place.quiet.exists():
                calls.append(self._submit(connection, self._made_up(), "result"))
                room -= len(calls[-1].open_items)
            await asyncio.sleep(_PAUSE_S)
            refused = [call.record for call in calls if call.is_refused]
            calls = [call for call in calls if call.open_items and not call.is_refused]
            if refused:
                await asyncio.sleep(10 * _PAUSE_S)
            calls += [self._submit(connection, record, "result") for record in refused]

    async def _ask_again(self, connection: TaskConnection) -> None:
        oldest = time.time() - _REMEMBERED_S
        journal = records(self._place.journal)
        submitted = [record for record in journal if record["op"] == "submit" and record["at"] > oldest]
        calls = [self._submit(connection, record, "again") for record in submitted]
        while calls:
            await asyncio.sleep(_PAUSE_S)
            calls = [call for call in calls if call.open_items and not call.is_refused]

    def _made_up(self) -> Record:
        """A new submission, written down before it is sent."""
        mode = self._random.choice(("run", "run", "map"))
        count = self._random.randint(2, self._load.longest_map) if mode == "map" else 1
        key = uuid.uuid4().hex
        items = [f"{key[:8]}-{index}" for index in range(count)]
        seconds = [round(self._random.uniform(0.0, self._load.longest_s), 4) for _ in items]
        return append(self._place.journal, "submit", key=key, mode=mode, items=items, seconds=seconds)

    def _unanswered(self) -> list[Record]:
        journal = records(self._place.journal)
        answered = {record["item"] for record in journal if record["op"] == "result"}
        return [record for record in journal if record["op"] == "submit" and not answered.issuperset(record["items"])]

    def _submit(self, connection: TaskConnection, record: Record, op: str) -> Call:
        call = Call(self._place, record, op)
        ledger = str(self._place.ledger)
        arguments: Iterable[Any] = (
            ((ledger, *each), {}) for each in zip(record["items"], record["seconds"], strict=True)
        )
        request = TaskRequest(
            namespace="default",
            pool=POOL,
            mode=record["mode"],
            name=note_execution.__name__,
            digest=hashlib.sha256(self._function).hexdigest(),
            function=self._function,
            items=tuple(pickle.dumps(each, protocol=5) for each in arguments),
            max_attempts=_MOST_ATTEMPTS,
            stream=False,
            key=record["key"],
        )
        connection.submit(request, call)
        return call


@asynccontextmanager
async def _connected(place: Place) -> AsyncIterator[TaskConnection]:
    """A connection that outlives every death of the operator; the first one waits for it too."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    async with contextlib.AsyncExitStack() as stack:
        while True:
            connection = TaskConnection(load_config(place.config), python=python, reconnect_s=_RECONNECT_S)
            try:
                await stack.enter_async_context(connection)
                break
            except SkyError:
                await asyncio.sleep(0.2)
        yield connection


def _same_function(path: Path) -> bytes:
    """The function's bytes as the first of us made them: under one key a repeat must be the same to the byte."""
    if not path.exists():
        temporary = path.with_suffix(".new")
        temporary.write_bytes(cloudpickle.dumps(note_execution, protocol=5))
        temporary.rename(path)
    return path.read_bytes()


def _token(result: Result) -> str:
    """The execution that made this result; for a failure, what it says."""
    if result.outcome != SUCCEEDED:
        return result.failure.message if result.failure else ""
    value: Any = pickle.loads(result.value)
    return str(value[1])


if __name__ == "__main__":
    asyncio.run(Workload(Place(Path(sys.argv[1])), PROFILES[sys.argv[2]].load).run())
