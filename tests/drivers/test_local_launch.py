"""Making a local node fails as a whole: a disk that is full leaves nothing half made behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyward.drivers.local.launch import prepare_node
from skyward.facts import LaunchRequest, Offering

REQUEST = LaunchRequest("launch", "me", "pool", "default/pool", 1, Offering("local", "local"), "ssh-ed25519 AAAA")
TOO_LONG = "x" * 5000


def test_a_node_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        prepare_node(tmp_path, "launch-0", REQUEST, now=0.0, suffix="a", uv_dir=TOO_LONG)

    assert list(tmp_path.iterdir()) == []
    prepare_node(tmp_path, "launch-0", REQUEST, now=0.0, suffix="b", uv_dir="")
    assert [path.name for path in tmp_path.iterdir()] == ["launch-0"]
