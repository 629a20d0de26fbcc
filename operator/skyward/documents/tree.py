"""One YAML document as a tree whose parts know their place in the text: for line numbers in messages and for edits that
touch nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 64
MAX_EXPANSIONS = 100
MERGE_KEY = "<<"

Path = tuple[str | int, ...]
"""Keys and positions from the root of a document to one of its parts."""


class Malformed(Exception):
    """The text cannot be read any further as a document; the line counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Span:
    """Where a part stands: offsets in the document's text, line from 1, column from 0. An anchor before it is not included."""

    start: int
    end: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    span: Span
    value: str | int | float | bool | None
    text: str
    """As written, without quotes."""
    style: str
    """Empty for plain, else the quote or the block sign that began it."""


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    at: Span
    value: Tree


@dataclass(frozen=True, slots=True)
class Mapping:
    span: Span
    entries: tuple[Entry, ...]
    flow: bool

    def find(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    span: Span
    items: tuple[Tree, ...]
    flow: bool


@dataclass(frozen=True, slots=True)
class Alias:
    span: Span
    target: Tree


Tree = Scalar | Mapping | Sequence | Alias


def to_json(tree: Tree) -> Any:
    """The value that the document says, aliases and merge keys expanded. Raises Malformed for more than it may expand to."""
    return _Expansion().value(tree, 0)


def line_of(tree: Tree, path: Path) -> int:
    """Line of the part at this path, or of the nearest part above it that exists."""
    line = tree.span.line
    for part in path:
        here = tree.target if isinstance(tree, Alias) else tree
        if isinstance(here, Mapping) and isinstance(part, str) and (entry := here.find(part)) is not None:
            line, tree = entry.at.line, entry.value
        elif isinstance(here, Sequence) and isinstance(part, int) and part < len(here.items):
            tree = here.items[part]
            line = tree.span.line
        else:
            break
    return line


class _Expansion:
    def __init__(self) -> None:
        self._expanded = 0

    def value(self, tree: Tree, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Malformed(tree.span.line, f"is nested more than {MAX_DEPTH} levels deep")
        match tree:
            case Scalar():
                return tree.value
            case Sequence():
                return [self.value(item, depth + 1) for item in tree.items]
            case Mapping():
                return self._mapping(tree, depth)
            case Alias():
                self._expanded += 1
                if self._expanded > MAX_EXPANSIONS:
                    raise Malformed(tree.span.line, f"aliases expand more than {MAX_EXPANSIONS} times")
                return self.value(tree.target, depth)

    def _mapping(self, tree: Mapping, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for entry in tree.entries:
            if entry.key != MERGE_KEY:
                own[entry.key] = self.value(entry.value, depth + 1)
                continue
            for source in _merged(entry):
                for key, value in self.value(source, depth).items():
                    merged.setdefault(key, value)
        return merged | own if merged else own


def _merged(entry: Entry) -> Iterator[Tree]:
    sources = entry.value.items if isinstance(entry.value, Sequence) else (entry.value,)
    for source in sources:
        target = source.target if isinstance(source, Alias) else source
        if not isinstance(target, Mapping):
            raise Malformed(entry.at.line, "<< merges mappings only, like <<: *name")
        yield source
