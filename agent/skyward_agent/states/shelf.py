"""The functions this agent holds, by digest."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Container, Set

from skyward_agent.wire.messages import Function

ASK_AGAIN_S = 10.0


class Enquiries:
    """Functions that the gateway was asked for."""

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}

    def clear(self) -> None:
        self._asked.clear()

    def forget(self, digest: str) -> None:
        """It came; should it turn out to be something else, it is asked for again at once."""
        self._asked.pop(digest, None)

    def due(self, missing: Set[str], now: float) -> tuple[str, ...]:
        """Of what is missing, what is to be asked for now; what is not missing any more is forgotten."""
        if not missing and not self._asked:
            return ()
        due = sorted(one for one in missing if one not in self._asked or self._asked[one] + ASK_AGAIN_S <= now)
        self._asked = {digest: now if digest in due else self._asked[digest] for digest in missing}
        return tuple(due)

    def deadline(self) -> float | None:
        return min(self._asked.values()) + ASK_AGAIN_S if self._asked else None


class FunctionShelf:
    """Bytes of functions, least recently used first. What a held lease needs is never thrown out."""

    def __init__(self, *, limit_bytes: int, limit_count: int) -> None:
        self._functions: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._limit_bytes = limit_bytes
        self._limit_count = limit_count

    def __contains__(self, digest: object) -> bool:
        return digest in self._functions

    def put(self, function: Function, needed: Container[str]) -> None:
        """Keep a function; bytes that are not what their digest says are ignored, as if they had not come."""
        if function.digest in self._functions or hashlib.sha256(function.data).hexdigest() != function.digest:
            return
        self._functions[function.digest] = function.data
        self._bytes += len(function.data)
        self._evict(needed, function.digest)

    def take(self, digest: str) -> bytes:
        """The bytes of a function that is here; it counts as used."""
        self._functions.move_to_end(digest)
        return self._functions[digest]

    def _evict(self, needed: Container[str], newest: str) -> None:
        for digest in tuple(self._functions):
            if self._bytes <= self._limit_bytes and len(self._functions) <= self._limit_count:
                return
            if digest not in needed and digest != newest:
                self._bytes -= len(self._functions.pop(digest))
