"""Several attempts in the hands of one real child: begun in order, told apart, and taken back while they have not begun."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import skyward_agent
from skyward_agent.runner.conversation import ChildEvents
from skyward_agent.runner.messages import FunctionEnded
from skyward_agent.runner.output import OutputBuffer
from skyward_agent.runner.process import Child, ChildPlace, child_environment
from skyward_agent.wire.messages import AttemptId, Failure, Lease
from tests.agent.payloads import pickled_arguments, pickled_function


class Hands:
    """One child that is given many attempts; what it gives back for its output's sake is given again, one by one."""

    def __init__(self, directory: Path) -> None:
        tasks = directory / "tasks"
        tasks.mkdir()
        library = Path(skyward_agent.__file__).parents[1]
        place = ChildPlace(sys.executable, str(library), tasks, child_environment(dict(os.environ), sys.executable))
        events = ChildEvents(self._ready, lambda child: None, self._ended, self._withdrawn, self._died)
        self.child = Child(0, 1, place, events)
        self.ready = asyncio.Event()
        self.dead = asyncio.Event()
        self.ended: list[int] = []
        self.values: dict[int, Any] = {}
        self.output: dict[int, str] = {}
        self.unbegun: tuple[AttemptId, ...] = ()
        self._leases: dict[AttemptId, tuple[Lease, bytes]] = {}
        self.again: list[AttemptId] = []
        """Withdrawn, because the child wrote something or closed its output."""
        self._count = 0

    def give(self, function: Callable[..., Any], *args: Any, **fields: Any) -> int:
        self._count += 1
        digest, data = pickled_function(function)
        lease = replace(Lease(AttemptId("task", self._count, 1, "s"), digest, pickled_arguments(*args)), **fields)
        self._leases[lease.id] = (lease, data)
        self._run(lease.id)
        return self._count

    def give_again(self, attempts: tuple[AttemptId, ...]) -> None:
        for attempt in attempts:
            self._run(attempt)

    async def until(self, claim: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 20
        while not claim():
            assert time.monotonic() < deadline, "never came true"
            await asyncio.sleep(0.002)

    def _run(self, attempt: AttemptId) -> None:
        lease, data = self._leases[attempt]
        self.child.run(lease, data, {}, memory_limited=False)

    def _ready(self, child: Child) -> None:
        self.ready.set()

    def _ended(self, child: Child, ended: FunctionEnded, output: OutputBuffer) -> None:
        pieces = output.take()
        item = len(self.ended) + 1 if not pieces else pieces[0].item
        self.ended.append(item)
        self.values[item] = pickle.loads(ended.value) if ended.value else ended.failure
        self.output[item] = b"".join(piece.data for piece in pieces).decode()
        self._go_on(child)

    def _withdrawn(self, child: Child, attempts: tuple[AttemptId, ...]) -> None:
        self.again += attempts
        self._go_on(child)

    def _go_on(self, child: Child) -> None:
        if self.again and child.current is None:
            self._run(self.again.pop(0))

    def _died(self, child: Child, outcome: str, failure: Failure, unbegun: tuple[AttemptId, ...]) -> None:
        self.unbegun = unbegun
        self.dead.set()


def with_hands(directory: Path, test: Callable[[Hands], Awaitable[None]]) -> None:
    async def main() -> None:
        hands = Hands(directory)
        hands.child.start()
        try:
            await asyncio.wait_for(hands.ready.wait(), 20)
            await test(hands)
        finally:
            hands.child.stop(kill=True)
            await asyncio.wait_for(hands.dead.wait(), 20)

    asyncio.run(main())


def await_file(path: str) -> str:
    import pathlib
    import time

    while not pathlib.Path(path).exists():
        time.sleep(0.002)
    return path


def touch(path: str) -> None:
    import pathlib

    pathlib.Path(path).touch()


def test_attempts_begin_in_order_one_after_the_other(tmp_path: Path) -> None:
    async def body(hands: Hands) -> None:
        for number in range(30):
            hands.give(lambda n: n * 2, number)
        await hands.until(lambda: len(hands.ended) == 30)

        assert [hands.values[item] for item in hands.ended] == [n * 2 for n in range(30)]

    with_hands(tmp_path, body)


def test_what_an_attempt_writes_is_never_taken_for_anothers(tmp_path: Path) -> None:
    def writes(number: int) -> int:
        import os

        print("out", number)
        os.write(1, b"from below %d\n" % number)
        return number

    async def body(hands: Hands) -> None:
        given = [hands.give(writes, number) for number in range(25)]
        await hands.until(lambda: len(hands.ended) == 25)

        assert hands.ended == given
        for item in given:
            assert hands.output[item] == f"out {item - 1}\nfrom below {item - 1}\n"
            assert hands.values[item] == item - 1

    with_hands(tmp_path, body)


def test_what_has_not_begun_can_be_taken_back_and_never_runs(tmp_path: Path) -> None:
    async def body(hands: Hands) -> None:
        hands.give(await_file, str(tmp_path / "gate"))
        await hands.until(lambda: list((tmp_path / "tasks").iterdir()))  # it has begun
        for number in range(5):
            hands.give(touch, str(tmp_path / f"ran-{number}"))

        taken = hands.child.take_back()
        touch(str(tmp_path / "gate"))
        await hands.until(lambda: hands.ended)
        hands.give(touch, str(tmp_path / "last"))
        await hands.until(lambda: len(hands.ended) == 2)

        assert [attempt.item for attempt in taken] == [2, 3, 4, 5, 6]
        assert sorted(os.listdir(tmp_path)) == ["gate", "last", "tasks"]

    with_hands(tmp_path, body)


def test_what_was_taken_back_can_be_given_again_with_its_function(tmp_path: Path) -> None:
    async def body(hands: Hands) -> None:
        hands.give(await_file, str(tmp_path / "gate"))
        await hands.until(lambda: list((tmp_path / "tasks").iterdir()))
        hands.give(touch, str(tmp_path / "ran"))

        hands.give_again(hands.child.take_back())
        touch(str(tmp_path / "gate"))
        await hands.until(lambda: len(hands.ended) == 2)

        assert hands.values[2] is None
        assert (tmp_path / "ran").exists()

    with_hands(tmp_path, body)


def test_a_death_leaves_all_behind_it_unbegun(tmp_path: Path) -> None:
    async def body(hands: Hands) -> None:
        hands.give(lambda: None)
        hands.give(lambda: __import__("os")._exit(3))
        for number in range(4):
            hands.give(touch, str(tmp_path / f"ran-{number}"))
        await hands.dead.wait()

        assert hands.ended == [1]
        assert [attempt.item for attempt in (*hands.again, *hands.unbegun)] == [3, 4, 5, 6]
        assert os.listdir(tmp_path) == ["tasks"]

    with_hands(tmp_path, body)


def test_nothing_begins_after_an_attempt_of_which_something_lives_on(tmp_path: Path) -> None:
    def leaves_a_thread() -> None:
        import threading
        import time

        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()

    async def body(hands: Hands) -> None:
        hands.give(leaves_a_thread)
        hands.give(touch, str(tmp_path / "ran"))
        await hands.until(lambda: hands.ended)
        hands.child.stop(kill=True)
        await hands.dead.wait()

        assert [attempt.item for attempt in (*hands.again, *hands.unbegun)] == [2]
        assert not (tmp_path / "ran").exists()

    with_hands(tmp_path, body)


def test_large_arguments_keep_their_place_among_small_ones(tmp_path: Path) -> None:
    async def body(hands: Hands) -> None:
        sizes = [10, 3_000_000, 20, 100_000, 60_000, 30, 1_000_000, 40]
        for size in sizes:
            hands.give(lambda data: len(data), b"x" * size)
        await hands.until(lambda: len(hands.ended) == len(sizes))

        assert [hands.values[item] for item in hands.ended] == sizes

    with_hands(tmp_path, body)
