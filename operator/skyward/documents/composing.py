"""From text to a tree: YAML 1.2 without tags, with plain refusals of everything that hides or multiplies meaning.

The tree is built from the parser's events, one at a time, so that a hostile document is refused at the first sign and
never expanded. Several faults of one document are all reported where reading can go on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

from skyward.documents.tree import MAX_DEPTH, MERGE_KEY, Alias, Entry, Malformed, Mapping, Scalar, Sequence, Span, Tree

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_DIGITS = 18
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_COLON = re.compile(r"[ \t]*:")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_ANCHOR = re.compile(r"&\S+\s*(#[^\n]*\n\s*)*")


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar. Raises ValueError for a number that JSON could not carry."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number")
    if _INT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise ValueError("the number is too large")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("the number is too large")
        return number
    return text


def _joined(pair: re.Match[str]) -> str:
    """JSON escapes a character beyond the basic plane as two halves; YAML's reader leaves them apart."""
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


class Composer:
    """Reads the one document in a text. `problems` holds (line, message) for each fault that did not stop the reading."""

    def __init__(self, text: str, first_line: int) -> None:
        self.problems: list[tuple[int, str]] = []
        self._text = text
        self._first_line = first_line
        self._anchors: dict[str, Tree | None] = {}
        """None while the anchored part is still being read."""

    def compose(self) -> Tree | None:
        """None for a document that says nothing. Raises Malformed where no reading is possible."""
        events = self._events()
        for event in events:
            if isinstance(event, StreamStartEvent | DocumentStartEvent):
                continue
            if not isinstance(event, NodeEvent):
                return None
            tree = self._part(event, events, 0)
            next(events)  # the end of the document
            if not isinstance(next(events), DocumentStartEvent):
                empty = isinstance(tree, Scalar) and tree.value is None and not tree.style
                return None if empty else tree
            raise Malformed(self._first_line, "holds a second document without a line '---' before it")
        return None

    def _events(self) -> Iterator[Any]:
        try:
            yield from YAML(typ="safe", pure=True).parse(self._text)
        except ReaderError as err:
            line = self._first_line + self._text.count("\n", 0, err.position)
            raise Malformed(line, f"holds a character that YAML does not allow (code {err.character})") from err
        except MarkedYAMLError as err:
            mark = err.problem_mark or err.context_mark
            line = self._first_line + (mark.line if mark is not None else 0)
            raise Malformed(line, f"is not valid YAML: {err.problem or err.context}") from err
        except (YAMLError, ValueError, NotImplementedError) as err:
            first = str(err).strip().splitlines()[:1]
            raise Malformed(self._first_line, f"is not valid YAML: {''.join(first)}") from err

    def _part(self, event: Any, events: Iterator[Any], depth: int) -> Tree:
        line = self._line(event)
        if depth > MAX_DEPTH:
            raise Malformed(line, f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, AliasEvent):
            return self._alias(event, line)
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self.problems.append((line, f"the tag {tag} is not accepted; write the plain value"))
        if event.anchor:
            self._anchors[event.anchor] = None
        tree = self._untagged(event, events, depth)
        if event.anchor:
            self._anchors[event.anchor] = tree
        return tree

    def _untagged(self, event: Any, events: Iterator[Any], depth: int) -> Tree:
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(event, events, depth)
        assert isinstance(event, MappingStartEvent), event
        return self._mapping(event, events, depth)

    def _alias(self, event: Any, line: int) -> Alias:
        if event.anchor not in self._anchors:
            raise Malformed(line, f"the alias *{event.anchor} has no anchor &{event.anchor} before it")
        target = self._anchors[event.anchor]
        if target is None:
            raise Malformed(line, f"the alias *{event.anchor} stands inside the part it repeats")
        return Alias(self._span(event, event.end_mark.index), target)

    def _scalar(self, event: Any) -> Scalar:
        style = event.style or ""
        text = _PAIR.sub(_joined, event.value) if style == '"' else event.value
        value: str | int | float | bool | None = text
        if _UNSTORABLE.search(text):
            self.problems.append(
                (self._line(event), "holds a character that cannot be stored (NUL or half a surrogate pair)")
            )
            value = ""
        elif not style:
            try:
                value = resolve(text)
            except ValueError as err:
                self.problems.append((self._line(event), str(err)))
        return Scalar(self._span(event, event.end_mark.index), value, text, style)

    def _sequence(self, start: Any, events: Iterator[Any], depth: int) -> Sequence:
        items: list[Tree] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._part(event, events, depth + 1))
        end = event.end_mark.index if start.flow_style else items[-1].span.end
        return Sequence(self._span(start, end), tuple(items), bool(start.flow_style))

    def _mapping(self, start: Any, events: Iterator[Any], depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        end = start.end_mark.index
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key, at = self._key(event, events, depth)
            value = self._placed(self._part(next(events), events, depth + 1), at)
            end = value.span.end
            if key is None:
                continue
            if key in entries:
                first = entries[key].at.line
                self.problems.append((at.line, f"the key {key!r} stands twice in this mapping, first in line {first}"))
            entries.setdefault(key, Entry(key, at, value))
        if start.flow_style:
            end = event.end_mark.index
        return Mapping(self._span(start, end), tuple(entries.values()), bool(start.flow_style))

    def _key(self, event: Any, events: Iterator[Any], depth: int) -> tuple[str | None, Span]:
        line = self._line(event)
        part = self._part(event, events, depth + 1)
        whole = part.target if isinstance(part, Alias) else part
        if not isinstance(whole, Scalar):
            self.problems.append((line, "a key must be text, not a list or a mapping"))
            return None, part.span
        if not isinstance(whole.value, str):
            self.problems.append((line, f"the key {whole.text or 'null'} must be text; put it in quotes"))
            return None, part.span
        if whole.value == MERGE_KEY and whole.style:
            self.problems.append((line, "the key '<<' merges mappings; write it without quotes"))
        return whole.value, part.span

    def _placed(self, value: Tree, key: Span) -> Tree:
        """An empty value, which the parser places where the next word begins, put right behind its key's colon."""
        if not isinstance(value, Scalar) or value.text or value.style:
            return value
        colon = _COLON.match(self._text, key.end)
        end = colon.end() if colon is not None else key.end
        return replace(value, span=Span(end, end, key.line, key.column + end - key.start))

    def _line(self, event: Any) -> int:
        return self._first_line + int(event.start_mark.line)

    def _span(self, event: Any, end: int) -> Span:
        start = event.start_mark.index
        if not isinstance(event, AliasEvent) and event.anchor:
            found = _ANCHOR.match(self._text, start)
            start = found.end() if found is not None else start
        column = int(event.start_mark.column) + start - event.start_mark.index
        if "\n" in (skipped := self._text[event.start_mark.index : start]):
            column = len(skipped) - skipped.rfind("\n") - 1
        return Span(start, max(start, end), self._line(event), column)
