"""Logging while simulating: nothing is formatted or written, but what production code calls unexpected is kept.

Production code logs with `exc_info` exactly where it caught something that no contract announces.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any, cast

import structlog

from skyward.errors import SkyError

_unexpected: list[str] = []


class _Silent:
    """In place of a bound logger."""

    def __init__(self, logger: Any = None, processors: Any = None, context: Any = None) -> None:
        return None

    def bind(self, **_: Any) -> _Silent:
        return self

    new = try_unbind = unbind = bind

    def debug(self, event: str, **more: Any) -> None:
        if more.get("exc_info"):
            _keep(event, more)

    info = warning = error = critical = debug

    def exception(self, event: str, **more: Any) -> None:
        _keep(event, {**more, "exc_info": True})


def _keep(event: str, more: dict[str, Any]) -> None:
    error = more["exc_info"] if isinstance(more["exc_info"], BaseException) else sys.exc_info()[1]
    if isinstance(error, SkyError):
        return  # announced by a contract
    text = "".join(traceback.format_exception(error)) if error is not None else ""
    shown = ", ".join(
        f"{key}={value}" for key, value in more.items() if key not in ("exc_info", "duration_s", "retry_s")
    )
    _unexpected.append(f"{event} ({shown})\n{text}".strip())


def be_silent() -> None:
    structlog.configure(wrapper_class=cast(Any, _Silent), cache_logger_on_first_use=True)


def unexpected() -> list[str]:
    """What was caught since the last call."""
    kept = list(_unexpected)
    _unexpected.clear()
    return kept
