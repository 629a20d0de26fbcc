"""What must never be taken for a wish: missing, foreign, half-done, unreadable directories, and odd files in them."""

from __future__ import annotations

import pytest

from skyward.api import Reason, Status
from skyward.intake import MARKER
from tests.intake.files import Link, Pipe
from tests.intake.world import ROOT, World, manifest, play

ABSENCE_S = 10.0


def test_a_removed_document_removes_its_pool_after_two_looks() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.files.take_away(f"{ROOT}/hello.yaml")
            await world.passes(ABSENCE_S - 1)
            assert await world.leaving() == []

            await world.passes(2)
            assert await world.leaving() == ["default/hello"]
            assert (await world.events())[-1] == (Reason.MANIFEST_REMOVED, 1)

    play(scene)


@pytest.mark.parametrize("length", [len("apiVersion: skyward.dev/v1alpha1\nkind: Pool\nmetadata: {name: hel"), 40, 0])
def test_a_document_cut_short_removes_nothing_whatever_name_it_shows(length: int) -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.put("hello.yaml", manifest("hello")[:length])
            await world.passes(5 * ABSENCE_S)

            assert await world.leaving() == []
            assert (await world.acceptance())[:2] == (Status.FALSE, Reason.MANIFEST_INVALID)

    play(scene)


def test_a_document_that_comes_back_in_time_is_kept() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            for _ in range(5):
                world.files.take_away(f"{ROOT}/hello.yaml")
                await world.passes(ABSENCE_S - 2)
                world.put("hello.yaml", manifest("hello"))
                await world.passes(1)

            assert await world.leaving() == []

    play(scene)


def test_a_pool_that_vanished_while_the_operator_was_down_is_removed_by_the_same_rule() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        world.put("other.yaml", manifest("other"))
        async with world.running():
            pass
        world.files.take_away(f"{ROOT}/hello.yaml")
        async with world.running():
            await world.passes(ABSENCE_S - 1)
            assert await world.leaving() == []

            await world.passes(2)
            assert await world.leaving() == ["default/hello"]

    play(scene)


def test_a_pool_added_again_while_the_old_one_leaves_gets_a_new_uid_once_that_is_gone() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            old = await world.the_pool()
            world.files.take_away(f"{ROOT}/hello.yaml")
            await world.passes(30)
            world.put("hello.yaml", manifest("hello", 7))
            await world.passes(30)
            leaving = await world.the_pool()
            assert (leaving.metadata.uid, leaving.spec.nodes) == (old.metadata.uid, 2)

            await world.finish_deletion()
            await world.passes(1)

            new = await world.the_pool()
            assert new.metadata.uid != old.metadata.uid
            assert (new.spec.nodes, new.metadata.generation, new.metadata.deletion_timestamp) == (7, 1, None)

    play(scene)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda world: world.files.take_away(ROOT), Reason.SOURCE_MISSING, id="gone"),
        pytest.param(
            lambda world: world.files.faults.update({ROOT: PermissionError(13, "Permission denied")}),
            Reason.SOURCE_MISSING,
            id="unreadable",
        ),
        pytest.param(
            lambda world: world.files.faults.update({f"{ROOT}/sub": OSError(5, "Input/output error")}),
            Reason.SOURCE_MISSING,
            id="a folder in it unreadable",
        ),
        pytest.param(
            lambda world: (world.files.take_away(ROOT), world.files.put(ROOT, "a file")),
            Reason.SOURCE_MISSING,
            id="a file",
        ),
        pytest.param(
            lambda world: (world.files.take_away(ROOT), world.files.make_directory(ROOT)),
            Reason.SOURCE_READ,
            id="replaced by an empty one",
        ),
        pytest.param(
            lambda world: (world.files.take_away(f"{ROOT}/sub"), world.put(MARKER, "another-installation")),
            Reason.SOURCE_READ,
            id="another installation's",
        ),
        pytest.param(
            lambda world: (world.files.take_away(f"{ROOT}/sub"), world.put("other.yaml", Link("nowhere"))),
            Reason.SOURCE_READ,
            id="with a file that might hold the pool",
        ),
    ],
)
def test_a_doubtful_directory_deletes_nothing(spoil: object, reason: Reason) -> None:
    async def scene(world: World) -> None:
        world.put("sub/hello.yaml", manifest("hello"))
        async with world.running():
            assert callable(spoil)
            spoil(world)
            await world.passes(120)

            assert await world.leaving() == []
            ready = await world.readiness()
            assert ready.reason is reason
            assert "nothing is changed or deleted" in ready.message or "missing pools are kept" in ready.message
        async with world.running():
            await world.passes(120)
            assert await world.leaving() == []

    play(scene)


def test_a_replaced_directory_that_proves_itself_counts_again() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            marker = world.text(MARKER)
            world.files.take_away(ROOT)
            await world.passes(60)
            world.put(MARKER, marker)
            await world.passes(60)

            assert await world.leaving() == ["default/hello"]

    play(scene)


def test_the_marker_is_made_only_while_there_is_nothing_to_lose() -> None:
    async def scene(world: World) -> None:
        async with world.running():
            assert world.text(MARKER).strip() == world.store.installation
            world.put("hello.yaml", manifest("hello"))
            await world.passes(1)
            world.files.take_away(f"{ROOT}/{MARKER}")
            await world.passes(60)
        async with world.running():
            await world.passes(60)
            assert not world.is_marked

    play(scene)


def test_a_read_only_directory_is_read_all_the_same() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        world.files.is_read_only = True
        async with world.running():
            assert await world.pools() == ["default/hello"]
            ready = await world.readiness()
            assert (ready.status, ready.reason) == (Status.TRUE, Reason.SOURCE_READ)
            assert "there is no marker" in ready.message

    play(scene)


@pytest.mark.parametrize(
    "sign", ["index.lock", "rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "BISECT_LOG"]
)
@pytest.mark.parametrize("git", ["/manifests/.git", "/.git", "/elsewhere/git"])
def test_nothing_is_taken_while_git_is_in_the_middle_of_something(git: str, sign: str) -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        world.files.make_directory(git)
        if git == "/elsewhere/git":
            world.put(".git", f"gitdir: {git}\n")
        async with world.running():
            world.files.put(f"{git}/{sign}", "")
            world.files.take_away(f"{ROOT}/hello.yaml")
            world.put("new.yaml", manifest("new"))
            await world.passes(60)
            assert await world.pools() == ["default/hello"]
            assert await world.leaving() == []
            assert (await world.readiness()).reason is Reason.SOURCE_BUSY

            world.files.take_away(f"{git}/{sign}")
            await world.passes(3)
            assert await world.pools() == ["default/hello", "default/new"]

    play(scene)


def test_a_working_tree_is_read_only_after_a_second_of_quiet() -> None:
    async def scene(world: World) -> None:
        world.files.make_directory(f"{ROOT}/.git")
        async with world.running():
            world.put("hello.yaml", manifest("hello"))
            await world.passes(0.9)
            assert await world.pools() == []

            await world.passes(0.2)
            assert await world.pools() == ["default/hello"]

    play(scene)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("x.yaml", Link("nowhere"), "is a symbolic link to nothing; mend or remove it", id="dangling"),
        pytest.param("x.yaml", Link("x.yaml"), "is a symbolic link to itself", id="loop"),
        pytest.param(
            "x.yaml",
            Link("/etc/passwd"),
            "is a symbolic link that leads out of the directory; put the file itself there",
            id="out of the directory",
        ),
        pytest.param("x.yaml", Pipe(), "is not a regular file", id="pipe"),
        pytest.param("x.yaml/y.txt", "", "is a directory, not a manifest; rename it", id="directory"),
        pytest.param("x.yaml", b"#" * (50 << 20), "is larger than 1 MiB", id="50 MB"),
        pytest.param("x.yaml", b"a: \xff", "is not UTF-8 text; save it as UTF-8", id="not UTF-8"),
    ],
)
def test_an_odd_file_is_one_clear_problem_and_disturbs_no_other(name: str, content: object, problem: str) -> None:
    async def scene(world: World) -> None:
        world.files.put("/etc/passwd", "root")
        world.put("hello.yaml", manifest("hello"))
        world.put(name, content)
        async with world.running():
            assert await world.pools() == ["default/hello"]
            (found,) = (await world.report()).status.rejected
            assert (found.file, found.message) == ("x.yaml", problem)

    play(scene)


def test_an_unreadable_file_rejects_itself_alone() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        world.put("x.yaml", manifest("secret"))
        world.files.faults[f"{ROOT}/x.yaml"] = PermissionError(13, "Permission denied")
        async with world.running():
            assert await world.pools() == ["default/hello"]
            assert await world.problems() == ["x.yaml: cannot be read: Permission denied"]

    play(scene)


def test_a_directory_over_its_limits_leaves_out_the_rest_and_deletes_nothing() -> None:
    async def scene(world: World) -> None:
        world.put("z.yaml", manifest("hello"))
        async with world.running():
            for index in range(21):
                world.put(f"big{index}.yaml", b"#" * (1 << 20))
            await world.passes(60)

            assert await world.problems() == [
                "big9.yaml: is left out: the directory holds more than 20 MiB of manifests",
                "z.yaml: is left out: the directory holds more than 20 MiB of manifests",
            ]
            assert await world.leaving() == []

    play(scene)
