"""What a generator yields, at its end of the channel: no further than there is room, and not over before all was taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from skyward_agent.runner.channel import ChildChannel
from skyward_agent.runner.messages import Drained, Room, Yielded
from skyward_agent.runner.outlet import AHEAD, NotAGenerator, Outlet
from skyward_agent.runner.parcels import Parcels


class Agent:
    """The other end: keeps what it hears, and says what it was told to, in order."""

    def __init__(self, *says: object) -> None:
        self.heard: list[Yielded] = []
        self.left = deque(says)

    def say(self, message: Yielded) -> None:
        self.heard.append(message)

    def hear(self, *, rooms: bool) -> object:
        assert rooms
        return self.left.popleft()


def outlet(agent: Agent, path: Path, has_output: Callable[[], bool] = lambda: False) -> Outlet:
    return Outlet(cast(ChildChannel, agent), Parcels(str(path / "tasks")), has_output)


def numbers(count: int) -> Iterator[Any]:
    yield from range(count)
    return "returned"


def test_is_not_over_before_all_was_taken(tmp_path: Path) -> None:
    agent = Agent(Room(1, 1, 20), Room(1, 2, 20))

    assert outlet(agent, tmp_path).drain(numbers(2)) == "returned"

    assert [made.number for made in agent.heard] == [0, 1]
    assert not agent.left


def test_an_exception_comes_after_all_was_taken(tmp_path: Path) -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise LookupError

    agent = Agent(Room(1, 0, 20), Room(1, 1, 20))

    with pytest.raises(LookupError):
        outlet(agent, tmp_path).drain(fails())

    assert not agent.left


def test_goes_no_further_than_there_is_room(tmp_path: Path) -> None:
    agent = Agent(Room(1, 2, AHEAD + 1))

    with pytest.raises(IndexError):  # it waits for a second word
        outlet(agent, tmp_path).drain(numbers(100))

    assert len(agent.heard) == AHEAD + 1


def test_hears_nothing_of_another_stream(tmp_path: Path) -> None:
    agent = Agent(Room(1, 1, 20), Room(1, 900, 999), Room(2, 1, 20))
    stream = outlet(agent, tmp_path)

    stream.drain(numbers(1))
    stream.drain(numbers(1))

    assert not agent.left


def test_waits_until_its_output_was_read(tmp_path: Path) -> None:
    agent = Agent(Drained(), Room(1, 1, 20))

    outlet(agent, tmp_path, lambda: True).drain(numbers(1))

    assert agent.heard[0].wrote
    assert not agent.left


def test_what_is_no_generator_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotAGenerator, match="list"):
        outlet(Agent(), tmp_path).drain([1, 2])
