"""Differences between two values, field by field, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skyward.api.base import Json

_ABSENT: Any = object()
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class FieldChange:
    path: str
    """Like `spec.image.env.MODE`."""
    old: str | None
    """As JSON; None when the field was absent."""
    new: str | None

    def __str__(self) -> str:
        if self.old is None:
            return f"{self.path} added: {_short(self.new)}"
        if self.new is None:
            return f"{self.path} removed: {_short(self.old)}"
        return f"{self.path}: {_short(self.old)} → {_short(self.new)}"


def diff_spec(old: Json, new: Json, path: str = "spec") -> tuple[FieldChange, ...]:
    """Every leaf that differs, by its path below this one. Lists are compared whole."""
    return tuple(_changes(old, new, path))


def _changes(old: Any, new: Any, path: str) -> Iterator[FieldChange]:
    if isinstance(old, dict) and new is _ABSENT and old:
        new = {}
    elif isinstance(new, dict) and old is _ABSENT and new:
        old = {}
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _changes(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{path}.{name}" if path else name)
        return
    before, after = _text(old), _text(new)
    if before != after:
        yield FieldChange(path, before, after)


def _text(value: Any) -> str | None:
    return None if value is _ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
