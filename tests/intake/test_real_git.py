"""Real Git in the middle of things: what intake decides meanwhile is recorded, and it is nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from skyward.api import Pool, Reason, Source, SourceCondition, find
from skyward.contracts import Change, FileInfo, Store
from skyward.intake import DirectorySource, HoldLimits
from skyward.store import memory_store
from skyward.system.clock import SystemClock, SystemIds
from skyward.system.files import SystemFiles
from tests.intake.repository import PATIENCE_S, Repository
from tests.intake.world import manifest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")]
_LOOKS = 7
"""So many looks take longer than the quiet period and the proof of absence together."""


class CountingFiles(SystemFiles):
    def __init__(self, root: Path) -> None:
        self.looks = 0
        self._root = root

    def info(self, path: Path) -> FileInfo:
        self.looks += path == self._root
        return super().info(path)


class Intake:
    """An operator's intake over a real directory that looks often, and all that it decided about pools."""

    def __init__(self, root: Path, limits: HoldLimits) -> None:
        clock, ids = SystemClock(), SystemIds()
        self.store: Store = memory_store(clock, ids)
        self.files = CountingFiles(root)
        self.decided: list[str] = []
        self.store.subscribe(self._record)
        self.source = DirectorySource(
            root,
            store=self.store,
            files=self.files,
            clock=clock,
            ids=ids,
            poll_s=0.05,
            git_quiet_s=0.1,
            absence_s=0.3,
            limits=limits,
        )

    def _record(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change.object, Pool):
                pool = change.object
                word = "removed" if pool.metadata.deletion_timestamp else "held" if pool.status.held else "wants"
                self.decided.append(f"{pool.metadata.name} {word} {pool.spec.nodes}")

    async def nodes(self) -> dict[str, int]:
        pools = await self.store.read(lambda tx: tx.list(Pool))
        return {pool.metadata.name: pool.spec.nodes for pool in pools if pool.metadata.deletion_timestamp is None}

    async def reason(self) -> Reason:
        source = await self.store.read(lambda tx: tx.get(Source, "default/manifests"))
        ready = find(source.status.conditions, SourceCondition.READY) if source is not None else None
        assert ready is not None
        return ready.reason

    async def until(self, claim: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await claim():  # noqa: ASYNC110 - what happens outside sets no event
                await asyncio.sleep(0.02)

    async def comes_to(self, **nodes: int) -> None:
        async def claim() -> bool:
            return await self.nodes() == nodes and await self.reason() is Reason.SOURCE_READ

        await self.until(claim)
        await self.looks()
        assert await self.nodes() == nodes

    async def waits(self, reason: Reason = Reason.SOURCE_BUSY) -> None:
        """It says that it waits, and decides nothing however often it looks."""

        async def says_so() -> bool:
            return await self.reason() is reason

        await self.until(says_so)
        before = list(self.decided)
        await self.looks()
        assert self.decided == before

    async def looks(self) -> None:
        seen = self.files.looks

        async def claim() -> bool:
            return self.files.looks >= seen + 2 * _LOOKS

        await self.until(claim)


Scene = Callable[[Intake, Repository], Awaitable[None]]


def _play(tmp_path: Path, scene: Scene, limits: HoldLimits, root: Path | None = None) -> None:
    """Over a repository whose main branch declares a and b, and whose branch other changes b and adds c."""
    repository = Repository(tmp_path / "repository", tmp_path)
    repository.commit("base", a=1, b=1)
    repository.git("branch", "other")

    async def main() -> None:
        intake = Intake(root or repository.root, limits)
        ready = asyncio.Event()
        task = asyncio.create_task(intake.source.run(ready.set))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await ready.wait()
            await intake.comes_to(a=1, b=1)
            repository.commit("marker")
            repository.git("checkout", "--quiet", "other")
            repository.git("merge", "--quiet", "main")
            repository.commit("other", b=2, c=1)
            repository.git("checkout", "--quiet", "main")
            await intake.comes_to(a=1, b=1)
            intake.decided.clear()
            await scene(intake, repository)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await intake.store.close()

    asyncio.run(main())


def play(tmp_path: Path, scene: Scene, limits: HoldLimits | None = None) -> None:
    _play(tmp_path, scene, limits or HoldLimits(pools=100, nodes=1000))


CONFLICTS = {
    "merge": (("merge", "other"), ("merge", "--abort")),
    "rebase": (("rebase", "other"), ("rebase", "--abort")),
    "cherry-pick": (("cherry-pick", "other"), ("cherry-pick", "--abort")),
    "bisect": (("bisect", "start", "HEAD", "HEAD~2"), ("bisect", "reset")),
}


@pytest.mark.parametrize(("begin", "end"), CONFLICTS.values(), ids=CONFLICTS)
def test_an_operation_that_stopped_halfway_decides_nothing(
    tmp_path: Path, begin: tuple[str, ...], end: tuple[str, ...]
) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        repository.commit("on main", b=3)
        await intake.comes_to(a=1, b=3)
        repository.git(*begin, check=False)
        await intake.waits()
        repository.git(*end)

        await intake.comes_to(a=1, b=3)
        assert intake.decided == ["b wants 3"]

    play(tmp_path, scene)


def test_a_revert_with_a_conflict_decides_nothing(tmp_path: Path) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        first = repository.commit("to three", b=3)
        repository.commit("to four", b=4)
        await intake.comes_to(a=1, b=4)
        repository.git("revert", first, check=False)
        await intake.waits()
        repository.git("revert", "--abort")

        await intake.comes_to(a=1, b=4)
        assert "b wants 1" not in intake.decided

    play(tmp_path, scene)


def test_a_finished_operation_is_taken_as_a_whole(tmp_path: Path) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        repository.commit("on main", b=3)
        repository.git("merge", "other", check=False)
        await intake.waits()
        repository.commit("merged", b=5)

        await intake.comes_to(a=1, b=5, c=1)
        assert "b wants 2" not in intake.decided

    play(tmp_path, scene)


@pytest.mark.parametrize("words", [("checkout", "other"), ("merge", "other"), ("reset", "--hard", "other")])
def test_a_slow_checkout_is_invisible_until_it_is_done(tmp_path: Path, words: tuple[str, ...]) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        running = repository.start(*words)
        await intake.waits()
        assert intake.decided == []
        repository.finish(running)

        await intake.comes_to(a=1, b=2, c=1)
        assert sorted(intake.decided) == ["b wants 2", "c wants 1"]

    play(tmp_path, scene)


def test_a_killed_checkout_waits_for_a_human(tmp_path: Path) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        running = repository.start("checkout", "other")
        repository.kill(running)
        await intake.waits()
        assert intake.decided == []

        (repository.root / ".git" / "index.lock").unlink()
        repository.git("checkout", "--force", "other")
        await intake.comes_to(a=1, b=2, c=1)

    play(tmp_path, scene)


def test_stash_and_its_conflict_delete_nothing(tmp_path: Path) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        (repository.root / "b.yaml").write_text(manifest("b", 7))
        await intake.comes_to(a=1, b=7)
        repository.git("stash")
        await intake.comes_to(a=1, b=1)
        repository.commit("meanwhile", b=9)
        await intake.comes_to(a=1, b=9)
        repository.git("stash", "pop", check=False)
        await intake.looks()

        assert await intake.nodes() == {"a": 1, "b": 9}
        assert not any("removed" in word for word in intake.decided)

    play(tmp_path, scene)


def test_a_branch_without_the_pools_is_held(tmp_path: Path) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        repository.git("checkout", "--quiet", "-b", "empty")
        repository.commit("nothing", a=None, b=None)
        await intake.waits(Reason.DELETION_HELD)
        repository.git("checkout", "--quiet", "main")

        await intake.comes_to(a=1, b=1)
        assert not any("removed" in word for word in intake.decided)

    _play(tmp_path, scene, HoldLimits())


def test_a_sparse_checkout_without_the_pools_is_held(tmp_path: Path) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        repository.git("sparse-checkout", "set", "--no-cone", "/.skyward-source")
        await intake.waits(Reason.DELETION_HELD)
        repository.git("sparse-checkout", "disable")

        await intake.comes_to(a=1, b=1)

    _play(tmp_path, scene, HoldLimits())


def test_housekeeping_changes_nothing(tmp_path: Path) -> None:
    async def scene(intake: Intake, repository: Repository) -> None:
        for words in (("gc", "--quiet", "--prune=now"), ("fsck",), ("pack-refs", "--all"), ("tag", "v1"), ("status",)):
            repository.git(*words)
            await intake.looks()

        assert intake.decided == []

    play(tmp_path, scene)


def test_a_link_flipped_between_working_trees_is_one_change(tmp_path: Path) -> None:
    """As git-sync publishes: a working tree for each commit, and a link to the newest."""
    link = tmp_path / "current"
    link.symlink_to("repository")

    async def scene(intake: Intake, repository: Repository) -> None:
        for number, branch in enumerate(("other", "main", "main")):
            tree = tmp_path / f"tree{number}"
            running = repository.start("worktree", "add", "--quiet", "--detach", str(tree), branch)
            await intake.looks()
            repository.finish(running)
            (tmp_path / "next").symlink_to(tree)
            (tmp_path / "next").replace(link)
            await intake.comes_to(**({"a": 1, "b": 1} if branch == "main" else {"a": 1, "b": 2, "c": 1}))

        assert sorted(intake.decided) == ["b wants 1", "b wants 2", "c removed 1", "c wants 1"]

    _play(tmp_path, scene, HoldLimits(), link)


def test_a_submodule_that_is_being_checked_out_is_waited_for(tmp_path: Path) -> None:
    shared = Repository(tmp_path / "shared", tmp_path)
    shared.commit("one", x=1)

    async def scene(intake: Intake, repository: Repository) -> None:
        repository.git("submodule", "--quiet", "add", str(shared.root), "shared")
        repository.git("commit", "--quiet", "--message", "with a submodule")
        await intake.comes_to(a=1, b=1, x=1)
        attributes = repository.root / ".git" / "modules" / "shared" / "info" / "attributes"
        attributes.write_text("*.yaml filter=slow\n")
        below = repository.root / "shared"
        shared.commit("two", x=None, y=1)
        repository.git("-C", str(below), "fetch", "--quiet")
        repository.git("-C", str(below), "config", "filter.slow.smudge", repository.git("config", "filter.slow.smudge"))
        running = repository.start("-C", str(below), "checkout", "--quiet", "FETCH_HEAD")
        await intake.waits()
        repository.finish(running)

        await intake.comes_to(a=1, b=1, y=1)

    play(tmp_path, scene)
