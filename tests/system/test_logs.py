from __future__ import annotations

import io
import json

import pytest
import structlog

from skyward.logs import configure_logs
from skyward.settings import LogSettings


@pytest.fixture(autouse=True)
def _fresh_logs():  # type: ignore[no-untyped-def]
    yield
    structlog.reset_defaults()


def test_logs_are_one_readable_line_each() -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(), stream)

    structlog.get_logger().info("instance launched", pool="default/hello", count=2)

    (line,) = stream.getvalue().splitlines()
    assert "instance launched" in line
    assert "pool=default/hello" in line
    assert "\x1b" not in line


def test_logs_are_one_json_object_a_line_when_asked() -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(format="json"), stream)

    structlog.get_logger().warning("listing failed", provider="local")

    entry = json.loads(stream.getvalue())
    assert (entry["event"], entry["level"], entry["provider"]) == ("listing failed", "warning", "local")


def test_a_level_keeps_quieter_lines_out() -> None:
    stream = io.StringIO()
    configure_logs(LogSettings(level="warning"), stream)

    structlog.get_logger().info("instance launched")

    assert stream.getvalue() == ""
