from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from skyward.system.files import SystemFiles


def test_walk_leaves_out_hidden_entries_and_lists_links_and_odd_directories(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "a.yaml").write_text("a")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.yaml").write_text("b")
    (tmp_path / ".hidden.yaml").write_text("c")
    (tmp_path / "x.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)

    found = SystemFiles().walk(tmp_path)

    assert [str(path.relative_to(tmp_path)) for path in found] == ["link.yaml", "loop", "team/a.yaml", "x.yaml"]


def test_read_refuses_a_pipe_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")

    with pytest.raises(OSError, match="not a regular file"):
        SystemFiles().read(tmp_path / "pipe.yaml", 100)


def test_read_stops_one_byte_past_the_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 50)

    assert len(SystemFiles().read(tmp_path / "big", 10)) == 11


def test_write_replaces_the_file_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text("old")
    path.chmod(0o640)
    inode = path.stat().st_ino

    SystemFiles().write(path, b"new")

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_ino != inode
    assert [entry.name for entry in tmp_path.iterdir()] == ["pool.yaml"]


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()

    with pytest.raises(OSError):
        SystemFiles().write(path, b"new")

    assert [entry.name for entry in tmp_path.iterdir()] == ["directory"]


def test_watch_hints_at_a_change_below_the_root(tmp_path: Path) -> None:
    async def scenario() -> None:
        hints = SystemFiles().watch(tmp_path)
        waiting = asyncio.ensure_future(anext(hints))
        async with asyncio.timeout(10):
            while not waiting.done():
                (tmp_path / "pool.yaml").write_text(os.urandom(4).hex())
                await asyncio.sleep(0.05)
        await hints.aclose()

    asyncio.run(scenario())
