"""Changing what one document says by replacing the fewest characters of its text.

The tree knows where each part stands, so a change is a list of replacements; comments, order, quoting and layout of
everything else are not even looked at. The caller reads the result again and compares: a layout that this module
misjudges costs a coarser edit, never a wrong one.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from skyward.documents import emitting
from skyward.documents.emitting import INDENT
from skyward.documents.tree import MERGE_KEY, Entry, Mapping, Scalar, Sequence, Tree, to_json
from skyward.documents.wanted import canonical, same

_BLOCK_SIGNS = ("|", ">")


class TooTangled(Exception):
    """This layout needs a coarser edit."""


@dataclass(frozen=True, slots=True)
class _Replacement:
    start: int
    end: int
    text: str


def splice(text: str, tree: Tree, new: Any) -> str:
    """The text changed towards saying `new`; where anchors are involved it may take another round. Raises TooTangled."""
    splicer = _Splicer(text)
    splicer.change(tree, new, after=tree.span.start, column=-INDENT, in_flow=False)
    # From the back; of insertions at one place the inner mapping's, made first, must come out before the outer's.
    for part in reversed(sorted(splicer.replacements, key=lambda part: (part.start, part.end))):
        text = text[: part.start] + part.text + text[part.end :]
    return text


class _Splicer:
    def __init__(self, text: str) -> None:
        self.replacements: list[_Replacement] = []
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def change(self, tree: Tree, new: Any, *, after: int, column: int, in_flow: bool) -> None:
        """Make one value say `new`. It stands behind a key or dash that ends at `after` and began in `column`."""
        if same(to_json(tree), new):
            return
        if isinstance(tree, Mapping) and isinstance(new, dict) and self._keeps_some(tree, new):
            self._change_mapping(tree, new)
        elif isinstance(tree, Sequence) and isinstance(new, list) and new and not tree.flow:
            self._change_items(tree, new)
        else:
            self._replace(tree, new, after, column, in_flow)

    def _keeps_some(self, tree: Mapping, new: dict[str, Any]) -> bool:
        return any(entry.key in new or entry.key == MERGE_KEY for entry in tree.entries)

    # --- mappings ---

    def _change_mapping(self, tree: Mapping, new: dict[str, Any]) -> None:
        old = to_json(tree)
        for index, entry in enumerate(tree.entries):
            if entry.key == MERGE_KEY:
                continue
            if entry.key not in new:
                self._drop_entry(tree, index, new)
                continue
            colon = self._text.find(":", entry.at.end) + 1
            self.change(entry.value, new[entry.key], after=colon, column=entry.at.column, in_flow=tree.flow)
        own = {entry.key for entry in tree.entries}
        added = {key: value for key, value in new.items() if key not in own and not same(old.get(key), value)}
        if added:
            self._add_entries(tree, added)

    def _drop_entry(self, tree: Mapping, index: int, new: dict[str, Any]) -> None:
        entries = tree.entries
        entry = entries[index]
        if tree.flow:
            if any(_stays(earlier, new) for earlier in entries[:index]):
                self._put(self._end(entries[index - 1].value), self._end(entry.value), "")
            else:
                self._put(entry.at.start, entries[index + 1].at.start, "")
        elif self._is_first_on_line(entry.at.start):
            self._put(self._line_start(entry.at.start), self._next_line(self._end(entry.value)), "")
        elif index + 1 < len(entries):
            self._put(entry.at.start, entries[index + 1].at.start, "")
        else:
            raise TooTangled

    def _add_entries(self, tree: Mapping, added: dict[str, Any]) -> None:
        last = tree.entries[-1]
        end = self._end(last.value)
        if tree.flow:
            self._put(
                end, end, "".join(f", {emitting.scalar(key)}: {emitting.flow(part)}" for key, part in added.items())
            )
        else:
            self._insert_lines(self._next_line(end), emitting.block(added, tree.entries[0].at.column))

    # --- lists in block style ---

    def _change_items(self, tree: Sequence, new: list[Any]) -> None:
        old = [to_json(item) for item in tree.items]
        matcher = difflib.SequenceMatcher(
            None, [canonical(item) for item in old], [canonical(item) for item in new], False
        )
        for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
            if tag == "equal":
                continue
            if tag == "replace" and old_to - old_from == new_to - new_from:
                for index, item in zip(range(old_from, old_to), new[new_from:new_to], strict=True):
                    dash = self._dash(tree, index)
                    self.change(tree.items[index], item, after=dash + 1, column=tree.span.column, in_flow=False)
                continue
            for index in range(old_from, old_to):
                dash = self._dash(tree, index)
                self._put(self._line_start(dash), self._next_line(self._end(tree.items[index])), "")
            if new_to > new_from:
                lines = emitting.block(new[new_from:new_to], tree.span.column)
                self._insert_lines(self._before(tree, old_to), lines)

    def _before(self, tree: Sequence, index: int) -> int:
        if index == 0:
            return self._line_start(self._dash(tree, 0))
        return self._next_line(self._end(tree.items[index - 1]))

    def _dash(self, tree: Sequence, index: int) -> int:
        """Where an item's dash stands. Raises TooTangled unless it begins its line."""
        start = self._line_start(tree.items[index].span.start) if index else self._line_start(tree.span.start)
        floor = self._end(tree.items[index - 1]) if index else 0
        while True:
            dash = start + tree.span.column
            if self._text[dash : dash + 1] == "-" and self._is_first_on_line(dash):
                return dash
            if start == 0 or start <= floor:
                raise TooTangled
            start = self._line_start(start - 1)

    # --- single values ---

    def _replace(self, tree: Tree, new: Any, after: int, column: int, in_flow: bool) -> None:
        start, end = tree.span.start, self._end(tree)
        is_collection = isinstance(new, dict | list) and bool(new)
        is_noted = bool(self._text[end : self._next_line(end)].strip())
        has_gap = not self._text[after:start].strip()
        was_flow = isinstance(tree, Mapping | Sequence) and tree.flow
        lead = after if has_gap and not in_flow and column >= 0 else start
        if is_collection and not in_flow and not was_flow and not is_noted and lead == after:
            lines = emitting.block(new, column + INDENT)
            self._put(lead, end, self._newline + self._newline.join(lines))
            return
        if isinstance(new, str) and not in_flow and not is_noted and end < len(self._text):
            lines = emitting.literal(new, column + INDENT) or []
            if lines:
                self._put(lead, end, (" " if lead == after else "") + self._newline.join(lines))
                return
        style = tree.style if isinstance(tree, Scalar) else ""
        value = emitting.flow(new) if isinstance(new, dict | list) else emitting.scalar(new, style)
        spaced = start == end or (lead == after and "\n" in self._text[after:start])
        self._put(start if not spaced else lead, end, f" {value}" if spaced else value)

    # --- places in the text ---

    def _put(self, start: int, end: int, text: str) -> None:
        self.replacements.append(_Replacement(start, end, text))

    def _insert_lines(self, at: int, lines: list[str]) -> None:
        is_open = at > 0 and self._text[at - 1] not in "\r\n"
        self._put(
            at, at, (self._newline if is_open else "") + self._newline.join(lines) + ("" if is_open else self._newline)
        )

    def _end(self, tree: Tree) -> int:
        """Where a value's text ends, without the blank lines that a block scalar's place takes in."""
        if isinstance(tree, Mapping) and not tree.flow and tree.entries:
            return self._end(tree.entries[-1].value)
        if isinstance(tree, Sequence) and not tree.flow:
            return self._end(tree.items[-1])
        if isinstance(tree, Scalar) and tree.style in _BLOCK_SIGNS:
            return tree.span.start + len(self._text[tree.span.start : tree.span.end].rstrip())
        return tree.span.end

    def _line_start(self, at: int) -> int:
        return max(self._text.rfind("\n", 0, at), self._text.rfind("\r", 0, at)) + 1

    def _next_line(self, at: int) -> int:
        found = self._text.find("\n", at)
        return len(self._text) if found < 0 else found + 1

    def _is_first_on_line(self, at: int) -> bool:
        return not self._text[self._line_start(at) : at].strip()


def _stays(entry: Entry, new: dict[str, Any]) -> bool:
    return entry.key in new or entry.key == MERGE_KEY
