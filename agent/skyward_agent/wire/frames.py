"""Frames: how one message travels.

A frame is `u32 length | u32 header length | header | blobs`, big-endian; `length` counts all that follows it. The
header is JSON: `[message name, [field, …], [blob lengths]]`, fields in the order of the class, nested ones likewise. A
`bytes` value stands in the fields as the index of its blob, so payloads are neither encoded nor escaped. Messages only
grow, at their end: fields too many are ignored, missing ones take their default.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import types
import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, cast

MAX_FRAME_BYTES = 256 * 1024 * 1024
_LENGTHS = struct.Struct("!II")
_LENGTH = struct.Struct("!I")

M = TypeVar("M")
_Pack = Callable[[Any, list[bytes]], Any]
_Unpack = Callable[[Any, "list[memoryview]"], Any]
_parse = json.JSONDecoder().raw_decode


def _make_dump() -> Callable[[Any], str]:
    """What `JSONEncoder.encode` does, but for its making an encoder anew for each frame."""
    encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    quote = json.encoder.encode_basestring_ascii
    chunks = make(None, encoder.default, quote, None, ":", ",", False, False, True)
    return lambda value: "".join(chunks(value, 0))


_dump = _make_dump()


class FrameError(Exception):
    """The other side sent something that is not a frame of a known message: close the connection."""


_by_name: dict[str, type] = {}
_codecs: dict[type, _Codec] = {}


def message(cls: type[M]) -> type[M]:
    """Class decorator: register a frozen dataclass as a message of the wire."""
    _by_name[cls.__name__] = cls
    return cls


def encode(value: Any) -> list[bytes]:
    """One message as the parts of its frame, ready for `writelines`; blobs are not copied."""
    blobs: list[bytes] = []
    fields = _codec(type(value)).pack(value, blobs)
    lengths = [len(blob) for blob in blobs]
    header = _dump([type(value).__name__, fields, lengths]).encode()
    size = 4 + len(header) + sum(lengths)
    if size > MAX_FRAME_BYTES:
        raise FrameError(f"a {type(value).__name__} of {size} bytes is over the limit of {MAX_FRAME_BYTES}")
    return [_LENGTHS.pack(size, len(header)) + header, *blobs]


def decode(frame: bytes | memoryview) -> Any:
    """The message in a frame's bytes after the length. Raises FrameError for anything else."""
    view = memoryview(frame)
    try:
        (header_length,) = _LENGTH.unpack_from(view)
        start = 4 + header_length
        text = str(view[4:start], "utf-8")
        (name, fields, lengths), end = _parse(text)
        if end != len(text):
            raise FrameError("something stands behind the header")
        blobs = []
        for length in lengths:
            if not isinstance(length, int) or length < 0 or start + length > len(view):
                raise FrameError("a blob's length does not fit its frame")
            blobs.append(view[start : start + length])
            start += length
        return _codec(_by_name[name]).unpack(fields, blobs)
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


class _Codec:
    """One class, worked out once: which fields travel as they are, and what is done with the others."""

    def __init__(self, cls: type) -> None:
        hints = typing.get_type_hints(cls)
        names = [field.name for field in dataclasses.fields(cls)]
        self._cls = cls
        self._count = len(names)
        self._get: Callable[[Any], Any] = attrgetter(*names) if names else lambda value: ()
        self._packs: list[tuple[int, _Pack]] = []
        self._unpacks: list[tuple[int, _Unpack]] = []
        self._plain: list[tuple[int, type]] = []
        self._usual = tuple(_usual_type(hints[name]) for name in names)
        for index, name in enumerate(names):
            if hints[name] in _PLAIN:
                self._plain.append((index, hints[name]))
            else:
                pack, unpack = _field_codec(hints[name])
                self._packs.append((index, pack))
                self._unpacks.append((index, unpack))

    def pack(self, value: Any, blobs: list[bytes]) -> list[Any]:
        fields = list(self._get(value)) if self._count != 1 else [self._get(value)]
        for index, pack in self._packs:
            fields[index] = pack(fields[index], blobs)
        return fields

    def unpack(self, fields: Any, blobs: list[memoryview]) -> Any:
        if type(fields) is not list:
            raise FrameError(f"expected the fields of a {self._cls.__name__}, got {type(fields).__name__}")
        count = len(fields)
        if count > self._count:
            del fields[self._count :]
        if tuple(map(type, fields)) != self._usual:
            for index, expected in self._plain:
                if index < count and type(fields[index]) is not expected:
                    _checked((int, float) if expected is float else expected, fields[index])
        for index, unpack in self._unpacks:
            if index < count:
                fields[index] = unpack(fields[index], blobs)
        return self._cls(*fields)


def _usual_type(hint: Any) -> type:
    """What a header has for such a field nearly always: of a frame that has just these nothing needs to be looked at singly."""
    if hint in _PLAIN:
        return cast(type, hint)
    if hint in (bytes, memoryview):
        return int
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return type(None)
    return dict if origin is dict else list


def _codec(cls: type) -> _Codec:
    known = _codecs.get(cls)
    if known is None:
        known = _codecs[cls] = _Codec(cls)
    return known


_PLAIN = (str, int, float, bool)


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
    if hint is memoryview:  # not copied: whoever keeps it copies it
        return _pack_bytes, lambda value, blobs: blobs[value]
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        pack, unpack = _field_codec(arguments[0])
        return (
            lambda value, blobs: [pack(item, blobs) for item in value],
            lambda value, blobs: tuple([unpack(item, blobs) for item in value]),
        )
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        codec = _codec(hint)
        return codec.pack, codec.unpack
    if origin is dict:
        return _as_it_is, lambda value, blobs: _checked(dict, value)
    if hint in _PLAIN:
        return _as_it_is, lambda value, blobs: _checked((int, float) if hint is float else hint, value)
    raise TypeError(f"the wire has no form for {hint}")


def _as_it_is(value: Any, blobs: list[bytes]) -> Any:
    return value


def _pack_bytes(value: Any, blobs: list[Any]) -> int:
    blobs.append(value)
    return len(blobs) - 1


def _checked(expected: Any, value: Any) -> Any:
    if not isinstance(value, expected):
        raise FrameError(f"expected {expected}, got {type(value).__name__}")
    return value
