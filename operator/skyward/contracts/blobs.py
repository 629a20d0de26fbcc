"""Where the bytes of large payloads are kept: by digest, written once, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Arrival(Protocol):
    """One blob on its way in. It can be read as far as it came, by any number of readers."""

    @property
    def digest(self) -> str: ...

    @property
    def size(self) -> int:
        """Of the whole blob."""
        ...

    @property
    def received(self) -> int: ...

    async def append(self, chunks: Sequence[bytes | memoryview]) -> None:
        """The next bytes, in order; the last ones complete the blob. Raises StorageFull, and PayloadLost when the whole is
        not what its digest says: nothing of it is kept then."""
        ...

    async def take(self, name: str) -> None:
        """The whole blob is a file of this name in the shared directory, which is the store's from now on. Errors as of
        `append`."""
        ...

    async def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes of what came; empty when none came from there on."""
        ...


class Blobs(Protocol):
    def shared(self) -> tuple[str, str]:
        """The directory through which a process of the same user on the same host hands files over, and the proof that it sees
        the same one: the content of its file `proof`. Empty when there is none."""
        ...

    def size(self, digest: str) -> int | None:
        """Of a whole blob; None when it is not here."""
        ...

    async def begin(self, digest: str, size: int) -> Arrival:
        """Take in a blob that is not here, from where an earlier arrival stopped. Its room is reserved. Raises StorageFull;
        PayloadTooLarge when it can never fit. One at a time for each blob."""
        ...

    async def read(self, digest: str, offset: int, count: int) -> bytes:
        """Of a whole blob. Raises PayloadLost."""
        ...

    async def offer(self, digest: str) -> str:
        """Lay a whole blob into the shared directory, for somebody to take away: the file's name, or empty where that cannot
        be done."""
        ...

    async def link(self, digest: str) -> str:
        """An address from which anybody can read a whole blob for a while; empty where there is none."""
        ...

    async def delete(self, digest: str) -> None:
        """The blob, or what came of it. Idempotent; readers of it find it lost."""
        ...

    def untouched(self, before: float) -> tuple[str, ...]:
        """Blobs, and parts of blobs, that nobody began, completed or touched since then."""
        ...

    def touch(self, digest: str) -> None:
        """Somebody named it just now."""
        ...

    async def sweep(self, before: float) -> int:
        """Remove what was laid into the shared directory before then and never taken. Returns how many files."""
        ...
