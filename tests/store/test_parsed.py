"""Objects by the text of their rows."""

from __future__ import annotations

import pytest

from skyward.api import Node, Pool
from skyward.store import parsed
from skyward.store.parsed import Parsed
from tests.builders import make_pool


def _text(nodes: int) -> str:
    return make_pool(nodes=nodes).model_dump_json(by_alias=True, exclude_none=True)


def test_the_same_text_is_the_same_object() -> None:
    objects = Parsed()

    assert objects.read(Pool, _text(2)) is objects.read(Pool, _text(2))
    assert objects.read(Pool, _text(2)) == make_pool(nodes=2)


def test_another_text_of_the_same_object_is_read_anew() -> None:
    objects = Parsed()

    assert [objects.read(Pool, _text(nodes)).spec.nodes for nodes in (2, 3, 2)] == [2, 3, 2]


def test_a_text_is_not_taken_for_another_kind() -> None:
    objects = Parsed()
    objects.read(Pool, _text(2))

    with pytest.raises(ValueError, match="validation error"):
        objects.read(Node, _text(2))


def test_only_the_newest_texts_are_kept() -> None:
    objects = Parsed()
    first = objects.read(Pool, _text(1))
    for number in range(parsed._KEPT):
        objects.read(Pool, _text(1).replace('"hello"', f'"hello-{number}"'))

    assert objects.read(Pool, _text(1)) is not first
    assert len(objects._objects) == parsed._KEPT
