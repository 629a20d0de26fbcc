"""API writes: one document edited in its file, taken in at once, and nothing else touched; refusals change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from skyward.api import FINALIZER, Pool, Reason
from skyward.contracts import Manifest
from skyward.errors import AlreadyExists, Conflict, Invalid, NotFound, ReadOnlySource, UserError
from skyward.intake import MANIFEST_FINALIZER
from tests.intake.files import Link
from tests.intake.world import ROOT, World, manifest, play

TWO = f"# both of us\n{manifest('hello')}---\n# the neighbour\n{manifest('other', 4)}"


def _wanted(nodes: int = 3, name: str = "hello", namespace: str = "default", **spec: Any) -> Manifest:
    return Manifest(namespace, name, {"nodes": nodes, "provider": "local", **spec})


def test_a_write_edits_the_document_in_its_file_and_is_taken_in_at_once() -> None:
    async def scene(world: World) -> None:
        world.put("deep/both.yaml", TWO)
        async with world.running():
            before = await world.the_pool()
            full = before.spec.replace(nodes=5).to_json()

            pool = await world.source.write(
                Manifest("default", "hello", full), create=False, expect=before.metadata.resource_version
            )

            assert (pool.spec.nodes, pool.metadata.generation, pool.metadata.uid) == (5, 2, before.metadata.uid)
            assert pool == await world.the_pool()
            assert world.text("deep/both.yaml") == TWO.replace("nodes: 2", "nodes: 5")

    play(scene)


@pytest.mark.parametrize(("namespace", "path"), [("default", "new.yaml"), ("team", "team/new.yaml")])
def test_a_new_pool_gets_a_file_of_its_own(namespace: str, path: str) -> None:
    async def scene(world: World) -> None:
        async with world.running():
            pool = await world.source.write(_wanted(name="new", namespace=namespace), create=True)

            assert pool.key == f"{namespace}/new"
            assert (pool.metadata.generation, pool.metadata.finalizers) == (1, (FINALIZER,))
            assert pool.status.file == f"{path}:1"
            assert "provider: local" in world.text(path)

            await world.passes(60)
            assert await world.the_pool(f"{namespace}/new") == pool

    play(scene)


def test_a_new_pool_is_added_to_a_file_that_bears_its_name() -> None:
    async def scene(world: World) -> None:
        world.put("new.yaml", manifest("hello"))
        async with world.running():
            await world.source.write(_wanted(name="new"), create=True)

            assert world.text("new.yaml").startswith(f"{manifest('hello')}---\n")
            assert await world.pools() == ["default/hello", "default/new"]

    play(scene)


def test_a_write_that_says_what_is_said_already_touches_no_file() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            pool, writes = await world.the_pool(), world.files.writes

            again = await world.source.write(Manifest("default", "hello", pool.spec.to_json()), create=False)

            assert (again, world.files.writes) == (pool, writes)

    play(scene)


def test_a_dry_run_answers_and_changes_nothing() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            entries, version = dict(world.files.entries), await world.version()

            changed = await world.source.write(_wanted(7), create=False, dry_run=True)
            created = await world.source.write(_wanted(name="new"), create=True, dry_run=True)
            removed = await world.source.remove("default", "hello", dry_run=True)

            assert (changed.spec.nodes, changed.metadata.generation) == (7, 2)
            assert (created.key, created.metadata.generation) == ("default/new", 1)
            assert removed.metadata.deletion_timestamp is not None
            assert (world.files.entries, await world.version()) == (entries, version)

    play(scene)


Act = Callable[[World], Awaitable[object]]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(lambda world: world.source.write(_wanted(-1), create=False), Invalid, id="invalid"),
        pytest.param(lambda world: world.source.write(_wanted(), create=True), AlreadyExists, id="exists"),
        pytest.param(lambda world: world.source.write(_wanted(name="no"), create=False), NotFound, id="not found"),
        pytest.param(lambda world: world.source.write(_wanted(), create=False, expect="0"), Conflict, id="stale"),
        pytest.param(
            lambda world: world.source.write(_wanted(name="bad"), create=True), Conflict, id="broken in a file"
        ),
        pytest.param(lambda world: world.source.write(_wanted(name="odd"), create=True), Conflict, id="file unusable"),
        pytest.param(
            lambda world: world.source.write(_wanted(namespace="out"), create=True), ReadOnlySource, id="leads out"
        ),
        pytest.param(lambda world: world.source.remove("default", "no"), NotFound, id="nothing to remove"),
        pytest.param(lambda world: world.source.remove("default", "hello", uid="x"), Conflict, id="another uid"),
    ],
)
def test_a_refused_write_leaves_files_and_store_as_they_were(act: Act, error: type[UserError]) -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        world.put("bad.yaml", manifest("bad", -1))
        world.put("odd.yaml", b"\xff")
        world.put("out", Link("/etc"))
        world.files.make_directory("/etc")
        async with world.running():
            await world.passes(1)
            entries, pools = dict(world.files.entries), [await world.the_pool()]

            with pytest.raises(error) as caught:
                await act(world)

            assert "\n" not in str(caught.value)
            assert (world.files.entries, [await world.the_pool()]) == (entries, pools)
            assert await world.leaving() == []

    play(scene)


def test_invalid_writes_name_every_wrong_field() -> None:
    async def scene(world: World) -> None:
        async with world.running():
            with pytest.raises(Invalid) as caught:
                await world.source.write(_wanted(-1, nodez=1), create=True)

            assert caught.value.causes == (
                ("spec.nodes", "must be at least 0, not -1"),
                ("spec.nodez", "there is no field 'nodez'; did you mean 'nodes'?"),
            )

    play(scene)


def test_a_read_only_directory_says_where_to_edit() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.files.is_read_only = True
            for act in (world.source.write(_wanted(), create=False), world.source.remove("default", "hello")):
                with pytest.raises(ReadOnlySource, match=r"/manifests/hello.yaml cannot be written"):
                    await act
            assert await world.leaving() == []
            assert world.text("hello.yaml") == manifest("hello")

    play(scene)


def test_a_file_edited_meanwhile_is_read_again_and_both_edits_stay() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            reads = iter(range(1000))

            def edit_late(path: str) -> None:
                # The third look at the file is the one right before it is replaced.
                if path.endswith("hello.yaml") and next(reads) == 2:
                    world.files.entries[path] = f"# seen?\n{manifest('hello')}".encode()

            world.files.before_read = edit_late
            pool = await world.source.write(_wanted(9), create=False)

            assert pool.spec.nodes == 9
            assert world.text("hello.yaml") == f"# seen?\n{manifest('hello', 9)}"

    play(scene)


def test_a_write_first_takes_in_what_the_user_saved() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            old = (await world.the_pool()).metadata.resource_version
            world.put("hello.yaml", manifest("hello", 6))

            with pytest.raises(Conflict):
                await world.source.write(_wanted(9), create=False, expect=old)

            assert (await world.the_pool()).spec.nodes == 6

    play(scene)


def test_writes_at_the_same_time_do_not_lose_each_other() -> None:
    async def scene(world: World) -> None:
        world.put("all.yaml", "---\n".join(manifest(f"p{index}") for index in range(5)))
        async with world.running():
            await asyncio.gather(*(world.source.write(_wanted(9, f"p{index}"), create=False) for index in range(5)))

            assert world.text("all.yaml").count("nodes: 9") == 5
            assert [(await world.the_pool(f"default/p{index}")).spec.nodes for index in range(5)] == [9] * 5

    play(scene)


def test_a_failing_commit_puts_the_file_back() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            await world.passes(1)
            world.files.before_write = lambda _: setattr(world, "ids", None)
            real = world.store.run

            async def refuse(work: Any, *, power_safe: bool = False) -> Any:
                if world.ids is None:
                    raise OSError(28, "No space left on device")
                return await real(work, power_safe=power_safe)

            world.store.run = refuse  # type: ignore[method-assign]
            with pytest.raises(OSError, match="No space left"):
                await world.source.write(_wanted(9), create=False)

            assert world.text("hello.yaml") == manifest("hello")

    play(scene)


def test_a_removal_marks_the_pool_and_then_removes_its_document() -> None:
    async def scene(world: World) -> None:
        world.put("both.yaml", TWO)
        world.put("alone.yaml", manifest("alone"))
        async with world.running():
            marked = await world.source.remove("default", "hello")
            await world.source.remove("default", "alone")

            assert marked.metadata.deletion_timestamp is not None
            assert world.text("both.yaml") == TWO.partition("---\n")[1] + TWO.partition("---\n")[2]
            assert f"{ROOT}/alone.yaml" not in world.files.entries
            pool = await world.the_pool()
            assert pool.metadata.finalizers == (FINALIZER,)
            assert (await world.events())[-1] == (Reason.DELETE_REQUESTED, 1)
            assert (await world.source.remove("default", "hello")).metadata.deletion_timestamp is not None

            await world.finish_deletion()
            await world.passes(60)
            assert await world.pools() == ["default/alone", "default/other"]

    play(scene)


def test_a_pool_being_deleted_takes_no_writes() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            await world.source.remove("default", "hello")

            with pytest.raises(AlreadyExists, match="is being deleted"):
                await world.source.write(_wanted(), create=True)
            with pytest.raises(Conflict, match="is being deleted"):
                await world.source.write(_wanted(), create=False)

            await world.finish_deletion()
            assert (await world.source.write(_wanted(), create=True)).spec.nodes == 3

    play(scene)


def test_a_crash_between_the_mark_and_the_file_is_made_good_by_the_next_operator() -> None:
    async def scene(world: World) -> None:
        world.put("both.yaml", TWO)
        async with world.running():
            await world.passes(1)
        await world.mark_deleted("default/hello", MANIFEST_FINALIZER)
        async with world.running():
            assert "name: hello" not in world.text("both.yaml")
            assert (await world.the_pool()).metadata.finalizers == (FINALIZER,)

            await world.finish_deletion()
            await world.passes(60)
            assert await world.pools() == ["default/other"]

    play(scene)


def test_writing_through_a_link_changes_the_file_behind_it() -> None:
    async def scene(world: World) -> None:
        world.put("behind.txt", manifest("hello"))
        world.put("hello.yaml", Link("behind.txt"))
        async with world.running():
            await world.source.write(_wanted(8), create=False)

            assert world.files.entries[f"{ROOT}/hello.yaml"] == Link("behind.txt")
            assert world.text("behind.txt") == manifest("hello", 8)

    play(scene)


def test_a_missing_directory_takes_no_writes() -> None:
    async def scene(world: World) -> None:
        world.files.take_away(ROOT)
        async with world.running():
            with pytest.raises(ReadOnlySource, match="cannot be read"):
                await world.source.write(_wanted(), create=True)
            assert await world.pools() == []
            assert world.files.entries == {}

    play(scene)


def test_a_busy_working_tree_takes_no_writes() -> None:
    async def scene(world: World) -> None:
        world.put(".git/index.lock", "")
        async with world.running():
            with pytest.raises(Conflict, match=r"waiting for git .* try again"):
                await world.source.write(_wanted(), create=True)

    play(scene)


def test_the_stored_pool_is_what_its_document_says_after_any_order_of_edits() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            for nodes in (3, 4, 5):
                await world.source.write(_wanted(nodes, env={"A": str(nodes)}), create=False)
                world.put("hello.yaml", world.text("hello.yaml").replace("# how many", "# so many"))
                await world.passes(1)
            pool: Pool = await world.the_pool()

            assert (pool.spec.nodes, pool.spec.env, pool.metadata.generation) == (5, {"A": "5"}, 4)
            assert "nodes: 5  # so many" in world.text("hello.yaml")

    play(scene)
