"""Objects by the text of their rows."""

from __future__ import annotations

import pytest

from skyward.api import Node, Pool
from skyward.store import parsed
from skyward.store.parsed import Parsed
from tests.builders import make_pool

KEY = "default/hello"


def _text(nodes: int) -> str:
    return make_pool(nodes=nodes).model_dump_json(by_alias=True, exclude_none=True)


def test_the_same_text_is_the_same_object() -> None:
    objects = Parsed()

    assert objects.read(Pool, KEY, _text(2)) is objects.read(Pool, KEY, _text(2))
    assert objects.read(Pool, KEY, _text(2)) == make_pool(nodes=2)


def test_another_text_of_the_same_object_is_read_anew() -> None:
    objects = Parsed()

    assert [objects.read(Pool, KEY, _text(nodes)).spec.nodes for nodes in (2, 3, 2)] == [2, 3, 2]
    assert len(objects._objects[Pool.KIND]) == 1


def test_what_was_written_is_what_is_read_and_only_with_its_own_text() -> None:
    objects, written = Parsed(), make_pool(nodes=2)

    objects.keep(written, _text(2))

    assert objects.read(Pool, written.key, _text(2)) is written
    assert objects.read(Pool, written.key, _text(1)).spec.nodes == 1  # the write was rolled back


def test_what_was_deleted_is_not_kept() -> None:
    objects = Parsed()
    objects.keep(make_pool(), _text(1))

    objects.forget(make_pool())

    assert objects._objects[Pool.KIND] == {}


def test_a_text_is_not_taken_for_another_kind() -> None:
    objects = Parsed()
    objects.read(Pool, KEY, _text(2))

    with pytest.raises(ValueError, match="validation error"):
        objects.read(Node, KEY, _text(2))


def test_only_the_newest_objects_are_kept() -> None:
    objects = Parsed()
    first = objects.read(Pool, KEY, _text(1))
    for number in range(parsed._KEPT):
        objects.read(Pool, f"default/hello-{number}", _text(1))

    assert objects.read(Pool, KEY, _text(1)) is not first
    assert len(objects._objects[Pool.KIND]) == parsed._KEPT
