"""A file's text cut into the texts of its documents, so that a broken one cannot spoil its neighbours.

YAML forbids a line that begins with `---` or `...` inside a document whatever the quoting, so the cut needs no parser.
Joined again, the chunks are the text, byte for byte: an edit of one leaves the others as they were.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MARKER = re.compile(r"(---|\.\.\.)(?=\s|$)")
_NOTHING = re.compile(r"\s*(#.*)?$")


@dataclass(frozen=True, slots=True)
class Chunk:
    text: str
    line: int
    """Line of the file on which it begins, from 1."""

    @property
    def is_empty(self) -> bool:
        """Holds comments and markers at most."""
        return all(_NOTHING.match(_without_marker(line)) for line in self.text.splitlines())


def split(text: str) -> tuple[Chunk, ...]:
    """At least one chunk, also of an empty text."""
    chunks: list[Chunk] = []
    lines: list[str] = []
    first, number, ended = 1, 0, False
    for number, line in enumerate(_lines(text), start=1):
        marker = _MARKER.match(line)
        begins = marker is not None and marker[1] == "---" and not _only_directives(lines)
        if lines and (begins or ended):
            chunks.append(Chunk("".join(lines), first))
            lines, first = [], number
        lines.append(line)
        ended = marker is not None and marker[1] == "..."
    return (*chunks, Chunk("".join(lines), first))


def _lines(text: str) -> list[str]:
    """Lines with their ends; unlike str.splitlines, only where YAML ends a line."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)


def _only_directives(lines: list[str]) -> bool:
    """What stands before the first `---` of a document and belongs to it."""
    return any(line.startswith("%") for line in lines) and all(
        line.startswith("%") or _NOTHING.match(line) for line in lines
    )


def _without_marker(line: str) -> str:
    marker = _MARKER.match(line)
    return line[marker.end() :] if marker is not None else line
