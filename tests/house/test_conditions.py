"""The closed lists of conditions and reasons hold nothing that is never said."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from skyward.api import NodeCondition, PoolCondition, Reason, SourceCondition, TaskCondition

ROOM = Path(__file__).parents[2] / "operator" / "skyward"
SAID = frozenset(
    name
    for path in ROOM.rglob("*.py")
    if path != ROOM / "api" / "conditions.py"
    for name in re.findall(
        r"\b(?:Reason|PoolCondition|NodeCondition|SourceCondition|TaskCondition)\.[A-Z_]+\b", path.read_text()
    )
)


@pytest.mark.parametrize("words", [Reason, PoolCondition, NodeCondition, SourceCondition, TaskCondition])
def test_every_condition_and_reason_is_said_somewhere(words: type[StrEnum]) -> None:
    unsaid = [word.name for word in words if f"{words.__name__}.{word.name}" not in SAID]

    assert unsaid == []
