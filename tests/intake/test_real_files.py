"""The same room over a real directory, real watcher, real time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from skyward.api import Pool, Source
from skyward.contracts import Manifest, Store
from skyward.intake import DirectorySource
from skyward.intake.snapshot import Reader
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
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fsencode(root / "socket.yaml"))
    with open(root / "huge.yaml", "wb") as huge:
        huge.truncate(50 << 20)

    snapshot = Reader(SystemFiles(), root).take(0.0)

    assert [file.path for file in snapshot.files] == ["good.yaml", "linked.yaml"]
    assert {rejected.problem.file: rejected.problem.message for rejected in snapshot.rejected} == {
        "dangling.yaml": "is a symbolic link to nothing; mend or remove it",
        "folder.yaml": "is a directory, not a manifest; rename it",
        "huge.yaml": "is larger than 1 MiB",
        "null.yaml": "is not a regular file",
        "passwd.yaml": "is a symbolic link that leads out of the directory; put the file itself there",
        "pipe.yaml": "is not a regular file",
        "self.yaml": "is a symbolic link to itself",
        "socket.yaml": "is not a regular file",
    }


def test_a_directory_behind_a_flipped_link_is_one_directory(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "hello.yaml").write_text(manifest("hello", len(version)))
    link = tmp_path / "current"
    link.symlink_to("one")
    before = Reader(SystemFiles(), link).take(0.0)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)

    after = Reader(SystemFiles(), link).take(0.0)

    assert [file.path for file in after.files] == ["hello.yaml"]
    assert before.identity != after.identity


@pytest.mark.slow
def test_what_editors_do_while_they_save_is_one_change(tmp_path: Path) -> None:
    def backup_and_rename(path: Path, text: str) -> None:
        path.rename(path.with_name("hello.yaml~"))
        (path.parent / "4913").write_text("")
        (path.parent / "4913").unlink()
        path.write_text(text)

    def swap_file(path: Path, text: str) -> None:
        (path.parent / ".hello.yaml.swp").write_bytes(b"\0" * 4096)
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        (path.parent / ".hello.yaml.swp").unlink()

    def new_file_over(path: Path, text: str) -> None:
        (path.parent / "hello.yaml.tmp").write_text(text)
        (path.parent / "hello.yaml.tmp").replace(path)

    def other_case(path: Path, text: str) -> None:
        path.write_text(text)
        path.rename(path.with_name("Hello.YAML"))
        path.with_name("Hello.YAML").rename(path.with_name("Hello.yaml"))

    async def scene(real: Real) -> None:
        uids: set[str] = set()
        for nodes, save in enumerate((backup_and_rename, swap_file, new_file_over, other_case), start=3):
            save(tmp_path / "hello.yaml", manifest("hello", nodes))
            await _nudged(real, {"hello": nodes})
            pools = await real.store.read(lambda tx: tx.list(Pool))
            uids |= {pool.metadata.uid for pool in pools}
            source = await real.store.read(lambda tx: tx.get(Source, "default/manifests"))
            assert source is not None
            assert source.status.rejected == ()
        assert len(uids) == 1

    (tmp_path / "hello.yaml").write_text(manifest("hello"))
    _play(tmp_path, scene)


def test_content_decides_though_the_time_of_change_is_set_back(tmp_path: Path) -> None:
    file = tmp_path / "hello.yaml"
    file.write_text(manifest("hello", 2))
    reader = Reader(SystemFiles(), tmp_path)
    for now in (0.0, 10.0, 20.0):
        before = reader.take(now)
    marks = file.stat()
    file.write_text(manifest("hello", 3))
    os.utime(file, ns=(marks.st_atime_ns, marks.st_mtime_ns))

    after = reader.take(30.0)

    assert (file.stat().st_mtime_ns, file.stat().st_size) == (marks.st_mtime_ns, marks.st_size)
    assert before.revision != after.revision


_KILLED_WRITE = """
import os, signal, sys
from pathlib import Path
from skyward.system.files import SystemFiles
sys.addaudithook(lambda event, _: event == "os.rename" and os.kill(os.getpid(), signal.SIGKILL))
SystemFiles().write(Path(sys.argv[1]), b"new", 0o644)
"""


@pytest.mark.slow
def test_a_write_killed_before_its_rename_leaves_the_old_file_and_nothing_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "team" / "hello.yaml"
    file.parent.mkdir()
    file.write_text(manifest("hello", namespace="team"))
    killed = subprocess.run([sys.executable, "-c", _KILLED_WRITE, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.read_bytes() for path in file.parent.glob(".skyward-*")] == [b"new"]

    async def scene(real: Real) -> None:
        assert await real.nodes() == {"hello": 2}
        assert sorted(path.name for path in file.parent.iterdir()) == ["hello.yaml"]
        assert file.read_text() == manifest("hello", namespace="team")

    _play(tmp_path, scene)


def test_a_write_that_another_process_has_not_finished_is_left_to_it(tmp_path: Path) -> None:
    other = tmp_path / f".skyward-hello.yaml.{os.getppid()}"
    other.write_bytes(b"new")
    (tmp_path / ".skyward-source").write_text("uid")
    (tmp_path / ".skyward-notes.txt").write_text("mine")

    assert SystemFiles().sweep(tmp_path) == []
    assert other.exists()


def test_the_source_tells_its_directory(tmp_path: Path) -> None:
    async def scene(real: Real) -> None:
        source = await real.store.read(lambda tx: tx.get(Source, "default/manifests"))
        assert source is not None
        assert source.spec.path == str(tmp_path)

    _play(tmp_path, scene)
