"""What stands for a payload where payloads are kept and sent: its bytes while they are few, else the name of a blob.

A payload is a pickle, or an envelope: `magic | u32 header length | header | pickle`. The header names the blob that holds the
pickle and its out-of-band buffers, if they are not in the envelope itself, and files that the payload speaks of. Who only
carries payloads looks at the header and at nothing else.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Sequence

from skyward_agent.wire.records import record

INLINE_BYTES = 256 * 1024
"""Payloads up to this size travel and are stored as they are."""
MAGIC = b"\0sky1"
_ALIGNMENT = 64
_LENGTH = struct.Struct("!I")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST_HEADER = 1024 * 1024
_TOO_MANY = 10_000

Buffer = bytes | bytearray | memoryview


class PayloadError(Exception):
    """These bytes begin like an envelope and are none."""


@record(frozen=True, slots=True)
class BlobRef:
    """Names bytes by what they are: their sha256 in hex, and how many."""

    digest: str
    size: int


@record(frozen=True, slots=True)
class Span:
    offset: int
    size: int


@record(frozen=True, slots=True)
class Envelope:
    blob: BlobRef | None = None
    spans: tuple[Span, ...] = ()
    """Where in the blob the pickle is, then its out-of-band buffers in order."""
    files: tuple[tuple[str, BlobRef], ...] = ()
    """Files to be on the node: where they are laid in the task's directory (empty: nowhere), and their content."""
    inline: bytes = b""
    """The pickle, when there is no blob."""
    yields: bool = False
    """Of arguments: the caller iterates over what the function yields."""

    @property
    def references(self) -> tuple[BlobRef, ...]:
        files = tuple(ref for _, ref in self.files)
        return (self.blob, *files) if self.blob is not None else files

    def encode(self) -> bytes:
        blob = None if self.blob is None else [self.blob.digest, self.blob.size]
        spans = [[span.offset, span.size] for span in self.spans]
        files = [[name, ref.digest, ref.size] for name, ref in self.files]
        header = json.dumps([blob, spans, files, self.yields], separators=(",", ":")).encode()
        return b"".join((MAGIC, _LENGTH.pack(len(header)), header, self.inline))


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def open_envelope(data: Buffer) -> Envelope | None:
    """None for a payload that is just its pickle. Raises PayloadError."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        return None
    view = memoryview(data)
    start = len(MAGIC) + _LENGTH.size
    try:
        (length,) = _LENGTH.unpack_from(view, len(MAGIC))
        if length > _LARGEST_HEADER or start + length > len(view):
            raise PayloadError("an envelope's header does not fit it")
        blob, spans, files, yields = json.loads(str(view[start : start + length], "utf-8"))
        return Envelope(
            None if blob is None else _reference(*blob),
            tuple(_span(*span) for span in spans[:_TOO_MANY]),
            tuple((str(name), _reference(digest, size)) for name, digest, size in files[:_TOO_MANY]),
            bytes(view[start + length :]),
            bool(yields),
        )
    except (struct.error, ValueError, TypeError) as error:
        raise PayloadError(f"an envelope's header cannot be read: {type(error).__name__}") from error


def references(data: Buffer) -> tuple[BlobRef, ...]:
    """The blobs that a payload needs; none for most. Raises PayloadError."""
    envelope = open_envelope(data)
    return () if envelope is None else envelope.references


def names_blobs(data: Buffer) -> bool:
    """Whether these bytes are an envelope; looks at their beginning only."""
    return bytes(data[: len(MAGIC)]) == MAGIC


def size_of(data: Buffer) -> int:
    """Bytes of the payload itself, wherever they are."""
    return len(data) + sum(ref.size for ref in references(data))


def lay_out(pieces: Sequence[memoryview]) -> tuple[tuple[Span, ...], int]:
    """Where each piece goes in one blob, and how long that is: buffers begin where arrays like to."""
    spans, offset = [], 0
    for piece in pieces:
        offset = -(-offset // _ALIGNMENT) * _ALIGNMENT
        spans.append(Span(offset, piece.nbytes))
        offset += piece.nbytes
    return tuple(spans), offset


def laid_out(pieces: Sequence[memoryview], spans: Sequence[Span]) -> Iterable[memoryview]:
    """The blob's bytes in order, gaps included."""
    offset = 0
    for piece, span in zip(pieces, spans, strict=True):
        if span.offset > offset:
            yield memoryview(bytes(span.offset - offset))
        yield piece
        offset = span.offset + span.size


def cut(blob: memoryview, spans: Sequence[Span]) -> list[memoryview]:
    """The pieces of a blob, not copied. Raises PayloadError for a span that is not within it."""
    if any(span.offset + span.size > len(blob) for span in spans):
        raise PayloadError("a piece of the payload is not within its blob")
    return [blob[span.offset : span.offset + span.size] for span in spans]


def _reference(digest: object, size: object) -> BlobRef:
    if not isinstance(digest, str) or not is_digest(digest) or type(size) is not int or size < 0:
        raise PayloadError("an envelope names no blob where it should")
    return BlobRef(digest, size)


def _span(offset: object, size: object) -> Span:
    if type(offset) is not int or type(size) is not int or offset < 0 or size < 0:
        raise PayloadError("an envelope's piece has no place")
    return Span(offset, size)
