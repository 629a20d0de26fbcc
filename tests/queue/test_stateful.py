"""The queue over a store on disk against its model, driven and shrunk by hypothesis."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from skyward.contracts import Store
from skyward.store import open_store
from tests.queue.test_model import History, begin_history
from tests.queue.world import HandClock
from tests.store.world import CountingIds

Chance = st.randoms(use_true_random=False)


class QueueMachine(RuleBasedStateMachine):
    """Each rule is one step of the history; how it goes is for hypothesis to choose."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.history: History = self.do(begin_history(random.Random(0), self.open))

    def open(self, clock: HandClock) -> Store:
        return open_store(self.directory / "state", clock=clock, ids=CountingIds())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def step(self, chance: random.Random, name: str) -> None:
        self.history.random = chance
        self.do(getattr(self.history, name)())
        self.history.check()

    @rule(chance=Chance)
    def submit(self, chance: random.Random) -> None:
        self.step(chance, "submit")

    @rule(chance=Chance)
    def extend(self, chance: random.Random) -> None:
        self.step(chance, "extend")

    @rule(chance=Chance)
    def lease(self, chance: random.Random) -> None:
        self.step(chance, "lease")

    @rule(chance=Chance)
    def start(self, chance: random.Random) -> None:
        self.step(chance, "start")

    @rule(chance=Chance)
    def report(self, chance: random.Random) -> None:
        self.step(chance, "report")

    @rule(chance=Chance)
    def give_back(self, chance: random.Random) -> None:
        self.step(chance, "give_back")

    @rule(chance=Chance)
    def resume(self, chance: random.Random) -> None:
        self.step(chance, "resume")

    @rule(chance=Chance)
    def release(self, chance: random.Random) -> None:
        self.step(chance, "release")

    @rule(chance=Chance)
    def cancel(self, chance: random.Random) -> None:
        self.step(chance, "cancel")

    @rule(chance=Chance)
    def pass_time(self, chance: random.Random) -> None:
        self.step(chance, "pass_time")

    @rule()
    def restart(self) -> None:
        self.step(self.history.random, "restart")

    def teardown(self) -> None:
        try:
            self.do(self.history.finish())
        finally:
            self.do(self.history.world.store.close())
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.do(asyncio.sleep(0))
            self.loop.close()
            shutil.rmtree(self.directory)


@pytest.mark.slow
def test_the_queue_on_disk_does_what_its_model_does() -> None:
    QueueMachine.TestCase.settings = settings(
        max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    QueueMachine.TestCase().runTest()
