"""Frames: how one message travels.

A frame is `u32 length | u32 header length | header | blobs`, big-endian; `length` counts all that follows it. The
header is JSON: `[message name, fields, [blob lengths]]`. A `bytes` value stands in the fields as the index of its
blob, so payloads are neither encoded nor escaped. Messages only grow: unknown fields are ignored, missing ones take
their default.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

MAX_FRAME_BYTES = 256 * 1024 * 1024
_LENGTHS = struct.Struct("!II")
_LENGTH = struct.Struct("!I")

M = TypeVar("M")
_Pack = Callable[[Any, list[bytes]], Any]
_Unpack = Callable[[Any, "list[memoryview]"], Any]


class FrameError(Exception):
    """The other side sent something that is not a frame of a known message: close the connection."""


_by_name: dict[str, type] = {}
_codecs: dict[type, tuple[list[tuple[str, _Pack]], dict[str, _Unpack]]] = {}


def message(cls: type[M]) -> type[M]:
    """Class decorator: register a frozen dataclass as a message of the wire."""
    _by_name[cls.__name__] = cls
    return cls


def encode(value: Any) -> list[bytes]:
    """One message as the parts of its frame, ready for `writelines`; blobs are not copied."""
    blobs: list[bytes] = []
    fields = _pack_fields(value, blobs)
    header = json.dumps([type(value).__name__, fields, [len(blob) for blob in blobs]], separators=(",", ":")).encode()
    size = 4 + len(header) + sum(len(blob) for blob in blobs)
    if size > MAX_FRAME_BYTES:
        raise FrameError(f"a {type(value).__name__} of {size} bytes is over the limit of {MAX_FRAME_BYTES}")
    return [_LENGTHS.pack(size, len(header)) + header, *blobs]


def decode(frame: bytes | memoryview) -> Any:
    """The message in a frame's bytes after the length. Raises FrameError for anything else."""
    view = memoryview(frame)
    try:
        (header_length,) = _LENGTH.unpack_from(view)
        start = 4 + header_length
        name, fields, lengths = json.loads(bytes(view[4:start]))
        blobs = []
        for length in lengths:
            if not isinstance(length, int) or length < 0 or start + length > len(view):
                raise FrameError("a blob's length does not fit its frame")
            blobs.append(view[start : start + length])
            start += length
        cls = _by_name[name]
        return _unpack_fields(cls, fields, blobs)
    except FrameError:
        raise
    except Exception as error:
        raise FrameError(f"not a frame of this protocol: {type(error).__name__}") from error


def frame_length(prefix: bytes) -> int:
    """Bytes that follow the four-byte prefix. Raises FrameError when that is over the limit."""
    (length,) = _LENGTH.unpack(prefix)
    if not 4 <= length <= MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes is outside the limits of this protocol")
    return int(length)


def _pack_fields(value: Any, blobs: list[bytes]) -> dict[str, Any]:
    packers, _ = _codec(type(value))
    return {name: pack(getattr(value, name), blobs) for name, pack in packers}


def _unpack_fields(cls: type, fields: dict[str, Any], blobs: list[memoryview]) -> Any:
    _, unpackers = _codec(cls)
    return cls(**{name: unpackers[name](value, blobs) for name, value in fields.items() if name in unpackers})


def _codec(cls: type) -> tuple[list[tuple[str, _Pack]], dict[str, _Unpack]]:
    known = _codecs.get(cls)
    if known is None:
        hints = typing.get_type_hints(cls)
        pairs = {field.name: _field_codec(hints[field.name]) for field in dataclasses.fields(cls)}
        known = [(name, pair[0]) for name, pair in pairs.items()], {name: pair[1] for name, pair in pairs.items()}
        _codecs[cls] = known
    return known


def _field_codec(hint: Any) -> tuple[_Pack, _Unpack]:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        pack, unpack = _field_codec(inner)
        return (
            lambda value, blobs: None if value is None else pack(value, blobs),
            lambda value, blobs: None if value is None else unpack(value, blobs),
        )
    if hint is bytes:
        return _pack_bytes, lambda value, blobs: bytes(blobs[value])
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        pack, unpack = _field_codec(arguments[0])
        return (
            lambda value, blobs: [pack(item, blobs) for item in value],
            lambda value, blobs: tuple(unpack(item, blobs) for item in value),
        )
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _pack_fields, lambda value, blobs: _unpack_fields(hint, value, blobs)
    if origin is dict:
        return lambda value, blobs: value, lambda value, blobs: _checked(dict, value)
    if hint in (str, int, float, bool):
        return lambda value, blobs: value, lambda value, blobs: _checked((int, float) if hint is float else hint, value)
    raise TypeError(f"the wire has no form for {hint}")


def _pack_bytes(value: bytes, blobs: list[bytes]) -> int:
    blobs.append(value)
    return len(blobs) - 1


def _checked(expected: Any, value: Any) -> Any:
    if not isinstance(value, expected):
        raise FrameError(f"expected {expected}, got {type(value).__name__}")
    return value
