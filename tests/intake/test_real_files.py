"""The same room over a real directory, real watcher, real time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from skyward.api import Pool, Source
from skyward.contracts import Manifest, Store
from skyward.intake import DirectorySource
from skyward.intake.snapshot import take_snapshot
from skyward.store import memory_store
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.files import SystemFiles
from tests.intake.world import manifest

PATIENCE_S = 20.0


class Real:
    def __init__(self, root: Path) -> None:
        clock, ids = SystemClock(), SystemIds()
        self.root = root
        self.store: Store = memory_store(clock, ids)
        self.source = DirectorySource(
            root, store=self.store, files=SystemFiles(), clock=clock, ids=ids, poll_s=60.0, absence_s=0.2
        )

    async def nodes(self) -> dict[str, int]:
        pools = await self.store.read(lambda tx: tx.list(Pool))
        return {pool.metadata.name: pool.spec.nodes for pool in pools if pool.metadata.deletion_timestamp is None}

    async def until(self, nodes: dict[str, int]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.nodes() != nodes:  # noqa: ASYNC110 - what happens outside sets no event
                await asyncio.sleep(0.01)


def _play(root: Path, scene: Callable[[Real], Awaitable[None]]) -> None:
    async def main() -> None:
        real = Real(root)
        ready = asyncio.Event()
        task = asyncio.create_task(real.source.run(ready.set))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ready.wait()
            await scene(real)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await real.store.close()

    asyncio.run(main())


@pytest.mark.slow
def test_edits_by_write_rename_and_removal_are_seen(tmp_path: Path) -> None:
    async def scene(real: Real) -> None:
        await asyncio.sleep(0)
        (tmp_path / "hello.yaml").write_text(manifest("hello"))
        await _nudged(real, {"hello": 2})
        (tmp_path / ".hello.swp").write_text(manifest("hello", 3))
        (tmp_path / ".hello.swp").replace(tmp_path / "hello.yaml")
        await real.until({"hello": 3})
        (tmp_path / "sub").mkdir()
        (tmp_path / "hello.yaml").rename(tmp_path / "sub" / "other.yml")
        (tmp_path / "new.yaml").write_text(manifest("new"))
        await real.until({"hello": 3, "new": 2})
        (tmp_path / "new.yaml").unlink()
        await real.until({"hello": 3})

    _play(tmp_path, scene)


async def _nudged(real: Real, nodes: dict[str, int]) -> None:
    """The watcher may need a moment to begin: save until it is seen."""
    async with asyncio.timeout(PATIENCE_S):
        while await real.nodes() != nodes:
            (real.root / "nudge.txt").write_text("")
            await asyncio.sleep(0.05)


@pytest.mark.slow
def test_an_api_write_edits_the_real_file_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "hello.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + manifest("hello").replace("\n", "\r\n").encode())
    file.chmod(0o640)

    async def scene(real: Real) -> None:
        pool = await real.source.write(Manifest("default", "hello", {"nodes": 4, "provider": "local"}), create=False)
        await real.source.write(Manifest("team", "new", {"nodes": 1, "provider": "local"}), create=True)

        assert pool.spec.nodes == 4
        expected = b"\xef\xbb\xbf" + manifest("hello", 4).replace("\n", "\r\n").encode()
        assert file.read_bytes() == expected
        assert file.stat().st_mode & 0o777 == 0o640
        assert (tmp_path / "team" / "new.yaml").exists()
        await real.source.remove("team", "new")
        assert not (tmp_path / "team" / "new.yaml").exists()

    _play(tmp_path, scene)


def test_odd_entries_never_block_and_each_is_one_problem(tmp_path: Path) -> None:
    root = tmp_path / "a path with a space"
    root.mkdir()
    (root / "good.yaml").write_text(manifest("hello"))
    (root / "linked.yaml").symlink_to("good.yaml")
    (root / "dangling.yaml").symlink_to("nowhere")
    (root / "self.yaml").symlink_to("self.yaml")
    (root / "passwd.yaml").symlink_to("/etc/passwd")
    (root / "null.yaml").symlink_to("/dev/null")
    (root / "folder.yaml").mkdir()
    os.mkfifo(root / "pipe.yaml")
    with open(root / "huge.yaml", "wb") as huge:
        huge.truncate(50 << 20)

    snapshot = take_snapshot(SystemFiles(), root)

    assert [file.path for file in snapshot.files] == ["good.yaml", "linked.yaml"]
    assert {rejected.problem.file: rejected.problem.message for rejected in snapshot.rejected} == {
        "dangling.yaml": "is a symbolic link to nothing; mend or remove it",
        "folder.yaml": "is a directory, not a manifest; rename it",
        "huge.yaml": "is larger than 1 MiB",
        "null.yaml": "is not a regular file",
        "passwd.yaml": "is a symbolic link that leads out of the directory; put the file itself there",
        "pipe.yaml": "is not a regular file",
        "self.yaml": "is a symbolic link to itself",
    }


def test_a_directory_behind_a_flipped_link_is_one_directory(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "hello.yaml").write_text(manifest("hello", len(version)))
    link = tmp_path / "current"
    link.symlink_to("one")
    before = take_snapshot(SystemFiles(), link)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)

    after = take_snapshot(SystemFiles(), link)

    assert [file.path for file in after.files] == ["hello.yaml"]
    assert before.identity != after.identity


def test_the_source_tells_its_directory(tmp_path: Path) -> None:
    async def scene(real: Real) -> None:
        source = await real.store.read(lambda tx: tx.get(Source, "default/manifests"))
        assert source is not None
        assert source.spec.path == str(tmp_path)

    _play(tmp_path, scene)
