"""A function ready to be sent, and how the arguments of its calls become bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyward.client.payloads import seal
from skyward.errors import UserError
from skyward.sdk.library import Library
from skyward.sdk.pickling import Modules, pickle_call
from skyward_agent.wire.files import taken_along
from skyward_agent.wire.payload import BlobRef

if TYPE_CHECKING:
    from skyward.sdk.pool import CallOptions


@dataclass(frozen=True, slots=True)
class Sent:
    function: Callable[..., Any]
    """What the user named: errors speak of it and of its parameters."""
    name: str
    digest: str
    data: bytes
    modules: Modules
    options: CallOptions
    library: Library
    """The files that this session has put."""
    shared: Path | None = None
    """The operator's shared directory, for large payloads."""

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, yields: bool = False) -> bytes:
        """The arguments of one call. Raises NotPicklable."""
        apart: list[memoryview] = []
        with taken_along() as taken:
            pickled = pickle_call(self.function, args, kwargs, self.modules, apart)
        files = [(name, BlobRef(file.digest, file.size)) for name, file in self.options.files]
        files += [("", ref) for ref in taken]
        sources = self.library.sources(ref for _, ref in files)
        return seal(pickled, apart, self.shared, files, sources, yields=yields)

    def calls(self, iterables: tuple[Iterable[Any], ...]) -> Iterator[bytes]:
        """Those of a map, pickled as they are pulled. Raises UserError at once when there is nothing to pull."""
        if not iterables:
            raise UserError("map needs at least one iterable besides the function")
        return itertools.starmap(lambda *args: self.call(args, {}), zip(*iterables, strict=False))
