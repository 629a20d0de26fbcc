"""Which part of a log its reader asks for: since when, of which item, of which attempt, and how many of its last lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from aiohttp import web

from skyward.api import Object, Task, TaskPhase
from skyward.apiserver.asking import flag, number
from skyward.apiserver.refusals import bad_request
from skyward.contracts import LogPiece

FINAL = (TaskPhase.SUCCEEDED, TaskPhase.FAILED, TaskPhase.CANCELLED)


@dataclass(frozen=True, slots=True)
class Selection:
    since: float | None = None
    """Seconds since 1970."""
    item: int | None = None
    previous: bool = False
    tail: int | None = None
    failed: dict[int, int] = field(default_factory=dict)
    """Of each item of a running task that was tried again: its last attempt that failed."""

    def of(self, pieces: Sequence[LogPiece]) -> list[LogPiece]:
        """All that is asked for but the tail."""
        chosen = [
            piece
            for piece in pieces
            if (self.since is None or piece.at >= self.since) and self.item in (None, piece.output.item)
        ]
        return self._previous(chosen) if self.previous else chosen

    def _previous(self, pieces: Sequence[LogPiece]) -> list[LogPiece]:
        """Of each item, the attempt before its newest."""
        newest = {item: attempt + 1 for item, attempt in self.failed.items()}
        for piece in pieces:
            newest[piece.output.item] = max(newest.get(piece.output.item, 0), piece.output.attempt)
        return [piece for piece in pieces if piece.output.attempt == newest[piece.output.item] - 1]


def selection(request: web.Request, obj: Object, now: float) -> Selection:
    """What the query asks for. Raises Refusal for what cannot be."""
    since_s, previous, item = number(request, "sinceSeconds"), flag(request, "previous"), number(request, "item")
    if (previous or item is not None) and not isinstance(obj, Task):
        raise bad_request("previous and item: a node's log has neither attempts nor items; a task's has")
    if previous and flag(request, "follow"):
        raise bad_request("previous: an attempt that is over is not followed")
    failed: dict[int, int] = {}
    if isinstance(obj, Task) and obj.status.phase not in FINAL:
        for failure in obj.status.failures:
            failed[failure.item] = max(failed.get(failure.item, 0), failure.attempt)
    return Selection(
        since=None if since_s is None else now - since_s,
        item=item,
        previous=previous,
        tail=number(request, "tailLines"),
        failed=failed,
    )


def last_lines(pieces: Sequence[LogPiece], count: int | None) -> list[LogPiece]:
    """The end of what these pieces say: its last `count` lines."""
    if count is None or count <= 0:
        return [] if count is not None else list(pieces)
    kept: list[LogPiece] = []
    # The newline that ends the whole text begins no further line.
    wanted = count + (1 if pieces and pieces[-1].output.data.endswith(b"\n") else 0)
    for piece in reversed(pieces):
        data = piece.output.data
        lines = data.count(b"\n")
        if lines >= wanted:
            end = len(data)
            for _ in range(wanted):
                end = data.rindex(b"\n", 0, end)
            if data[end + 1 :]:
                kept.append(_cut(piece, end + 1))
            break
        wanted -= lines
        kept.append(piece)
    return kept[::-1]


def _cut(piece: LogPiece, count: int) -> LogPiece:
    data = piece.output.data
    return LogPiece(
        piece.offset + count,
        piece.line + data[:count].count(b"\n"),
        piece.at,
        replace(piece.output, data=data[count:]),
    )
