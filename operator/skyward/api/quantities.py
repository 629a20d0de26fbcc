"""The one parser for durations and for memory sizes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(KB|MB|GB|TB|KiB|MiB|GiB|TiB|Ki|Mi|Gi|Ti|K|M|G|T)")
_POWER = {"K": 1, "M": 2, "G": 3, "T": 4}
OFF = "off"


def parse_duration(text: str) -> float:
    """Seconds of `30s`, `10m`, `1h30m`, `3d`. Raises ValueError for anything else."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write it like 30s, 10m, 1h30m or 3d")
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))


def parse_size(text: str) -> int:
    """Bytes of `512MB` (powers of 1000) or `2GiB` (powers of 1024). Raises ValueError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write it like 512MB, 24GB or 2GiB")
    number, unit = match.groups()
    base = 1024 if "i" in unit else 1000
    return int(float(number) * base ** _POWER[unit[0]])


def parse_instant(text: str) -> float:
    """Seconds since 1970 of `2026-01-31T22:00:00Z`. Raises ValueError for anything else, a time without a zone included."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"{text!r} is not a time with its zone: write it like 2026-01-31T22:00:00Z")
    return time.timestamp()


def _check_duration(text: str) -> str:
    parse_duration(text)
    return text


def _check_duration_or_off(text: str) -> str:
    return text if text == OFF else _check_duration(text)


def _check_instant(text: str) -> str:
    parse_instant(text)
    return text


def _check_size(text: str) -> str:
    parse_size(text)
    return text


def _check_percentage(value: int | str) -> int | str:
    if isinstance(value, str) and not re.fullmatch(r"(100|\d{1,2})%", value):
        raise ValueError(f"{value!r} is not a share: write a whole number or a percentage like 25%")
    if isinstance(value, int) and value < 0:
        raise ValueError("must not be negative")
    return value


_DURATION_SCHEMA = {"type": "string", "examples": ["30s", "10m", "1h30m"]}
Duration = Annotated[str, AfterValidator(_check_duration), WithJsonSchema(_DURATION_SCHEMA)]
DurationOrOff = Annotated[str, AfterValidator(_check_duration_or_off), WithJsonSchema(_DURATION_SCHEMA)]
Instant = Annotated[str, AfterValidator(_check_instant), WithJsonSchema({"type": "string", "format": "date-time"})]
Size = Annotated[str, AfterValidator(_check_size), WithJsonSchema({"type": "string", "examples": ["512MB", "24GB"]})]
IntOrPercent = Annotated[int | str, AfterValidator(_check_percentage)]


def resolve_share(value: int | str, of: int, *, round_up: bool) -> int:
    """`25%` of a number of nodes, rounded as asked; a plain number is itself."""
    if isinstance(value, int):
        return value
    hundredths = int(value.removesuffix("%")) * of
    return -(-hundredths // 100) if round_up else hundredths // 100
