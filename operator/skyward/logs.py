"""Logs of the operator: one line per change of the world; readable on a terminal, JSON when asked.

Users are told what concerns them by conditions and events; this is for whoever runs the operator.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

from skyward.settings import LogSettings

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_CHATTY = ("asyncssh", "httpx", "httpcore", "aiohttp.access", "watchfiles", "alembic")
"""Libraries that would log every connection, and httpx full URLs."""


def configure_logs(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
    ]
    renderers: list[structlog.typing.Processor]
    if settings.format == "json":
        renderers = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        renderers = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=34)]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
