"""What bounds launches is worked out from what changed, and is always what counting everything anew would say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from skyward.controllers.deps import Deps
from skyward.controllers.launches import LaunchBook
from skyward.controllers.limits import LaunchLimits
from skyward.facts import Ceilings, Instance, InstanceState, Launch, LaunchState, Listing
from skyward.planner import CREATE_WINDOW_S
from tests.builders import make_launch, make_node, make_pool
from tests.fakes.cloud import FakeCloud, FakeDriver
from tests.fakes.time import FakeClock

POOL = make_pool("hello", 4)


class Books:
    """Launches and one listing, as they are at this moment."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.launches: dict[str, Launch] = {}
        self.shown: dict[str | None, tuple[Instance, ...]] = {}
        self.listed_at = self.clock.now()

    def add(self, name: str, count: int) -> None:
        nodes = [make_node(POOL, slot, launch=name) for slot in range(count)]
        now = self.clock.now()
        self.launches[name] = replace(make_launch(nodes, name, state=LaunchState.SENT), sent_at=now, created_at=now)

    def answer(self, name: str, shown: int) -> None:
        machines = tuple(Instance("local", f"{name}/{number}", name, InstanceState.UP) for number in range(shown))
        self.shown = {**self.shown, name: machines}
        ids = tuple(machine.id for machine in machines)
        self.launches[name] = replace(self.launches[name], state=LaunchState.BOUND, instances=ids)
        self.listed_at = self.clock.now()

    # --- what is asked of them ---

    def newest(self, provider: str) -> Listing:
        instances = tuple(one for made in self.shown.values() for one in made)
        return Listing(provider, instances, self.listed_at, self.listed_at)

    def by_launch(self, provider: str) -> dict[str | None, tuple[Instance, ...]]:
        return self.shown

    def all(self) -> tuple[Launch, ...]:
        return tuple(self.launches.values())

    def get(self, name: str) -> Launch | None:
        return self.launches.get(name)

    def of_pool(self, pool_uid: str) -> tuple[Launch, ...]:
        return self.all()


def limits_of(books: Books) -> LaunchLimits:
    drivers = {"local": FakeDriver(FakeCloud(books.clock))}
    deps = SimpleNamespace(clock=books.clock, listings=books, drivers=drivers, ceilings=Ceilings())
    return LaunchLimits(cast(Deps, deps), cast(LaunchBook, books))


@pytest.fixture
def books() -> Books:
    books = Books()
    books.add("one", 3)
    books.add("two", 2)
    return books


def check(limits: LaunchLimits, books: Books, instances: int, creates: int) -> None:
    uid = POOL.metadata.uid
    found = limits.exactly(uid)

    assert found == limits_of(books).exactly(uid)
    assert (found.own.instances, found.own.creates) == (instances, creates)


def test_follows_answers_listings_and_launches_that_end(books: Books) -> None:
    limits = limits_of(books)
    check(limits, books, instances=5, creates=5)

    books.answer("one", shown=3)
    check(limits, books, instances=5, creates=5)

    books.answer("two", shown=1)
    books.clock.advance(10_000.0)
    books.listed_at = books.clock.now()
    check(limits, books, instances=4, creates=0)

    books.shown = {"two": books.shown["two"]}
    books.launches = {name: replace(one, instances=()) for name, one in books.launches.items()}
    check(limits, books, instances=1, creates=0)


def test_a_listing_alone_changes_what_is_counted(books: Books) -> None:
    limits = limits_of(books)
    books.answer("one", shown=3)
    check(limits, books, instances=5, creates=5)

    gone = tuple(replace(one, state=InstanceState.GONE) for one in books.shown["one"])
    books.shown = {**books.shown, "one": gone}

    check(limits, books, instances=2, creates=5)


def test_an_answer_alone_changes_what_is_counted(books: Books) -> None:
    limits = limits_of(books)
    check(limits, books, instances=5, creates=5)

    books.launches["two"] = replace(books.launches["two"], state=LaunchState.REJECTED)

    check(limits, books, instances=3, creates=3)


def test_what_was_asked_for_lately_stops_counting_with_time_alone(books: Books) -> None:
    limits = limits_of(books)
    books.answer("one", shown=3)
    check(limits, books, instances=5, creates=5)

    books.clock.advance(CREATE_WINDOW_S + 1)

    check(limits, books, instances=5, creates=0)


def test_counts_what_belongs_to_no_launch_on_record(books: Books) -> None:
    limits = limits_of(books)
    check(limits, books, instances=5, creates=5)
    books.shown = {
        None: (Instance("local", "stray", None, InstanceState.UP),),
        "gone": (Instance("local", "x", "gone", InstanceState.UP),),
    }

    assert limits.exactly(POOL.metadata.uid).everywhere.instances == 7
