"""What users say in annotations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime


def is_asked(annotations: Mapping[str, str], name: str) -> bool:
    """The annotation is there and does not say `false`."""
    value = annotations.get(name)
    return value is not None and value.lower() != "false"


def parse_time(text: str) -> float | None:
    """Seconds since 1970 of an ISO time, UTC when it names no zone; None when it is not a time."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()
