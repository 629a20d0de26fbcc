"""Logs: what user code wrote on a node or in a task, kept pieces first and then live; as plain text, or as records that say
where each piece stands, so that a reader who was cut off goes on from there.

A reader has no buffer here: it reads the log on from its own offset, as fast as it can take it. What the log let go
meanwhile is a gap, which is said.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web

from skyward.api import Object, Task
from skyward.apiserver.asking import STREAM, flag, number
from skyward.apiserver.log_selection import FINAL, Selection, last_lines, selection
from skyward.apiserver.reads import find
from skyward.apiserver.refusals import bad_request
from skyward.apiserver.resources import Resource
from skyward.contracts import LogPiece, OutputLog
from skyward_agent.wire.messages import Output

log = structlog.get_logger()
_LOOK_S = 1.0
"""How often a silent log looks whether its client is there and its task still runs."""
_WRITE_S = 30.0
_ORIGIN = "Skyward-Log-Origin"
_FORMATS = {"": "text/plain; charset=utf-8", "records": "application/x-ndjson"}


class Outputs:
    def __init__(self, output: OutputLog, origin: str, now: Callable[[], float] = time.time) -> None:
        """`origin` names this process: what is kept here was kept by no other, and offsets are its own."""
        self._output = output
        self._origin = origin
        self._now = now

    async def serve(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        obj = await find(resource, request)
        wanted = selection(request, obj, self._now())
        form = request.query.get("format", "")
        if form not in _FORMATS:
            raise bad_request(f"format: {form!r} is not known; records is, or none for plain text")
        reader = _Reader(self._output, obj, wanted, self._start(request), as_records=form == "records")
        response = web.StreamResponse(headers={"Content-Type": _FORMATS[form], _ORIGIN: self._origin})
        stop = self._output.subscribe(reader.came)
        request[STREAM] = response
        try:
            await response.prepare(request)
            await self._send(response, reader.read(tail=wanted.tail))
            if flag(request, "follow"):
                await self._follow(resource, request, response, reader)
            await response.write_eof()
        except ConnectionError:
            log.debug("log reader gone", object=obj.key)
        finally:
            stop()
        return response

    def _start(self, request: web.Request) -> int:
        """Where to go on. An offset of another process means nothing here: all of this log is new to that reader."""
        offset = number(request, "offset")
        return offset if offset is not None and request.query.get("origin", "") in ("", self._origin) else 0

    async def _follow(
        self, resource: Resource, request: web.Request, response: web.StreamResponse, reader: _Reader
    ) -> None:
        """Until the task is finished, or the node or the client is gone."""
        while True:
            came = await reader.wait(_LOOK_S)
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the log's reader is gone")
            has_ended = not came and await self._has_ended(resource, request)
            await self._send(response, reader.read())
            if has_ended:
                return

    async def _has_ended(self, resource: Resource, request: web.Request) -> bool:
        found: Object | None = await resource.feed.get(
            resource.key(request.match_info["namespace"], request.match_info["name"])
        )
        return found is None or (isinstance(found, Task) and found.status.phase in FINAL)

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        if not data:
            return
        try:
            async with asyncio.timeout(_WRITE_S):
                await response.write(data)
        except TimeoutError:
            raise ConnectionResetError("the log's reader takes nothing") from None


class _Reader:
    """One client's place in one log."""

    def __init__(self, output: OutputLog, obj: Object, wanted: Selection, start: int, *, as_records: bool) -> None:
        self._output = output
        self._task = obj.metadata.uid if isinstance(obj, Task) else ""
        self._node = "" if isinstance(obj, Task) else obj.metadata.name
        self._wanted = wanted
        self._position = start
        self._as_records = as_records
        self._wake = asyncio.Event()

    def came(self, outputs: Sequence[Output]) -> None:
        if any(output.task == self._task if self._task else output.node == self._node for output in outputs):
            self._wake.set()

    async def wait(self, seconds: float) -> bool:
        """Whether anything came within that time."""
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def read(self, tail: int | None = None) -> bytes:
        """What came since the last time."""
        pieces = self._output.pieces(task=self._task, node=self._node, start=self._position)
        before, self._position = self._position, pieces[-1].end if pieces else self._position
        shown = b"".join(self._with_gap(piece, expected) for piece, expected in _in_line(pieces, before, self._wanted))
        if tail is None:
            return shown
        return b"".join(map(self._shown, last_lines(self._wanted.of(pieces), tail)))

    def _with_gap(self, piece: LogPiece, expected: int) -> bytes:
        missing = piece.offset - expected
        return (self._gap(expected, missing) if missing > 0 else b"") + self._shown(piece)

    def _shown(self, piece: LogPiece) -> bytes:
        output = piece.output
        if not self._as_records:
            return output.data
        return _line(
            offset=piece.offset,
            line=piece.line,
            at=round(piece.at, 3),
            node=output.node,
            item=output.item,
            attempt=output.attempt,
            stream=output.stream,
            data=base64.b64encode(output.data).decode(),
        )

    def _gap(self, offset: int, size: int) -> bytes:
        return _line(offset=offset, gap=size) if self._as_records else f"[… {size} bytes of output dropped]\n".encode()


def _in_line(pieces: Sequence[LogPiece], start: int, wanted: Selection) -> list[tuple[LogPiece, int]]:
    """The pieces asked for, each with the offset at which it would begin had nothing been let go since the one before."""
    ends = {piece.offset: end for piece, end in zip(pieces, [start, *(piece.end for piece in pieces)], strict=False)}
    return [(piece, ends[piece.offset]) for piece in wanted.of(pieces)]


def _line(**values: object) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
