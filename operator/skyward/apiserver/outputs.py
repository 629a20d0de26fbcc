"""Logs: what user code wrote on a node or in a task, as plain text, kept pieces first and then live."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web

from skyward.api import Object, Task, TaskPhase
from skyward.apiserver.asking import STREAM, flag, number
from skyward.apiserver.reads import find
from skyward.apiserver.resources import Resource
from skyward.contracts import OutputLog
from skyward_agent.wire.messages import Output

log = structlog.get_logger()
_FINAL = (TaskPhase.SUCCEEDED, TaskPhase.FAILED, TaskPhase.CANCELLED)
_LOOK_S = 1.0
"""How often a silent log looks whether its client is there and its task still runs."""
_WRITE_S = 30.0
_BUFFERED_BYTES = 8 * 1024 * 1024
_ORIGIN = "Skyward-Log-Origin"
_GAP = b"[... output dropped: this reader is too slow ...]\n"


class Outputs:
    def __init__(self, output: OutputLog, origin: str) -> None:
        """`origin` names this process: what is kept here was kept by no other."""
        self._output = output
        self._origin = origin

    async def serve(self, resource: Resource, request: web.Request) -> web.StreamResponse:
        obj = await find(resource, request)
        tail = number(request, "tailLines")
        is_task = isinstance(obj, Task)
        wanted = _of_task(obj.metadata.uid) if is_task else _of_node(obj.metadata.name)
        reader = _Reader(_Prefixer() if flag(request, "prefix") else None)
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8", _ORIGIN: self._origin})
        # Reading and subscribing without an await between them: no piece is lost, none comes twice.
        kept = (
            self._output.read(task=obj.metadata.uid, tail=tail)
            if is_task
            else self._output.read(node=obj.metadata.name, tail=tail)
        )
        reader.take(kept)
        follow = flag(request, "follow")
        stop = self._output.subscribe(lambda pieces: reader.take(filter(wanted, pieces))) if follow else lambda: None
        request[STREAM] = response
        try:
            await response.prepare(request)
            await self._send(response, reader.drain())
            if follow:
                await self._follow(resource, request, response, reader)
            await self._send(response, reader.rest())
            await response.write_eof()
        except ConnectionError:
            log.debug("log reader gone", object=obj.key)
        finally:
            stop()
        return response

    async def _follow(
        self, resource: Resource, request: web.Request, response: web.StreamResponse, reader: _Reader
    ) -> None:
        """Until the task is finished, or the node or the client is gone."""
        while True:
            got = await reader.wait(_LOOK_S)
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the log's reader is gone")
            if not got and await self._has_ended(resource, request):
                await self._send(response, reader.drain())
                return
            await self._send(response, reader.drain())

    async def _has_ended(self, resource: Resource, request: web.Request) -> bool:
        found: Object | None = await resource.feed.get(
            resource.key(request.match_info["namespace"], request.match_info["name"])
        )
        return found is None or (isinstance(found, Task) and found.status.phase in _FINAL)

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        if not data:
            return
        try:
            async with asyncio.timeout(_WRITE_S):
                await response.write(data)
        except TimeoutError:
            raise ConnectionResetError("the log's reader takes nothing") from None


class _Reader:
    """Pieces on their way to one client; bounded, a gap is marked."""

    def __init__(self, prefixer: _Prefixer | None) -> None:
        self._prefixer = prefixer
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()

    def take(self, outputs: Sequence[Output] | filter[Output]) -> None:
        for output in outputs:
            data = output.data if self._prefixer is None else self._prefixer.lines(output)
            self._pieces.append(data)
            self._size += len(data)
            while self._size > _BUFFERED_BYTES and len(self._pieces) > 1:
                self._size -= len(self._pieces.popleft()) - len(_GAP)
                self._pieces[0] = _GAP + self._pieces[0].removeprefix(_GAP)
        self._wake.set()

    async def wait(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        self._wake.clear()
        return bool(self._pieces)

    def drain(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return data

    def rest(self) -> bytes:
        return self.drain() + (b"" if self._prefixer is None else self._prefixer.rest())


class _Prefixer:
    """Whole lines, each with the node it came from; a line that is not finished yet waits for its end."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, int, int, str], bytes] = {}

    def lines(self, output: Output) -> bytes:
        source = (output.node, output.task, output.item, output.attempt, output.stream)
        *whole, begun = (self._open.pop(source, b"") + output.data).split(b"\n")
        if begun:
            self._open[source] = begun
        return b"".join(b"[" + output.node.encode() + b"] " + line + b"\n" for line in whole)

    def rest(self) -> bytes:
        lines = [b"[" + source[0].encode() + b"] " + line + b"\n" for source, line in self._open.items()]
        self._open.clear()
        return b"".join(lines)


def _of_task(uid: str) -> Callable[[Output], bool]:
    return lambda output: output.task == uid


def _of_node(name: str) -> Callable[[Output], bool]:
    return lambda output: output.node == name
