"""A record is what `dataclass(frozen=True, slots=True)` makes, made more quickly."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass, field
from typing import Any

import pytest

from skyward_agent.wire.records import record


@record(frozen=True, slots=True)
class Record:
    name: str
    number: int = 7
    more: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standard:
    name: str
    number: int = 7
    more: dict[str, str] = field(default_factory=dict)


@record(frozen=True, slots=True)
class Empty:
    pass


@record(frozen=True, slots=True)
class Single:
    only: tuple[int, ...]


def test_it_is_made_shown_and_taken_apart_like_a_dataclass() -> None:
    assert repr(Record("a", more={"b": "c"})).replace("Record", "Standard") == repr(Standard("a", more={"b": "c"}))
    assert [f.name for f in dataclasses.fields(Record)] == [f.name for f in dataclasses.fields(Standard)]
    assert dataclasses.asdict(Record("a", 2)) == dataclasses.asdict(Standard("a", 2))
    assert dataclasses.replace(Record("a"), number=3) == Record("a", 3)
    match Record("a", 9):
        case Record(name, number):
            assert (name, number) == ("a", 9)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Record()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        Record("a", other=1)  # type: ignore[call-arg]


def test_each_has_a_default_of_its_own() -> None:
    assert Record("a").more is not Record("a").more


@pytest.mark.parametrize("name", ["name", "other"])
def test_it_is_frozen_and_has_no_other_fields(name: str) -> None:
    one = Record("a")

    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, name, "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(one, name)
    assert not hasattr(one, "__dict__")


def test_equal_fields_of_one_class_are_equal_and_hash_alike() -> None:
    standard: object = Standard("a")
    assert Record("a") != standard
    assert Empty() == Empty()
    assert Single((1,)) == Single((1,)) != Single((2,))
    assert len({Empty(), Empty(), Single((1,)), Single((1,)), Single((2,))}) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Record("a"))


@pytest.mark.parametrize("value", [Record("a", 2, {"b": "c"}), Empty(), Single((1,))], ids=repr)
def test_it_is_copied_and_pickled(value: Any) -> None:
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_a_reader_sees_what_it_is() -> None:
    with pytest.raises(TypeError, match="frozen and slotted"):
        record(frozen=True, slots=False)
