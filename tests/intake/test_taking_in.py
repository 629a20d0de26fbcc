"""What becomes of files: pools, generations, refusals, conflicts, and nothing when nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from skyward.api import FINALIZER, Event, Reason, Status
from skyward.contracts import Store
from tests.intake.files import Watching
from tests.intake.world import POLL_S, World, manifest, play


def test_a_saved_file_becomes_a_pool_and_an_edit_a_generation() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            pool = await world.the_pool()
            assert (pool.metadata.generation, pool.metadata.finalizers) == (1, (FINALIZER,))
            assert pool.metadata.uid
            assert pool.metadata.creation_timestamp is not None
            assert pool.status.file == "hello.yaml:1"

            world.put("hello.yaml", manifest("hello", 3))
            await world.passes(1)

            edited = await world.the_pool()
            assert (edited.spec.nodes, edited.metadata.generation, edited.metadata.uid) == (3, 2, pool.metadata.uid)
            assert edited.status.revision == (await world.report()).status.revision != pool.status.revision
            assert await world.acceptance() == (Status.TRUE, Reason.MANIFEST_ACCEPTED, "")
            assert await world.events() == [(Reason.MANIFEST_ACCEPTED, 1), (Reason.SPEC_CHANGED, 1)]

    play(scene)


def test_labels_change_without_a_generation() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.put("hello.yaml", manifest("hello", labels="{team: a}"))
            await world.passes(1)

            pool = await world.the_pool()
            assert (pool.metadata.labels, pool.metadata.generation) == ({"team": "a"}, 1)

    play(scene)


def test_a_snapshot_that_changes_nothing_writes_nothing() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            version = await world.version()

            world.put("hello.yaml", manifest("hello"))
            world.put("notes.txt", "not a manifest")
            await world.passes(60)

            assert await world.version() == version

    play(scene)


def test_many_documents_in_many_files_and_folders_are_taken() -> None:
    async def scene(world: World) -> None:
        world.put("a.yaml", f"{manifest('one')}---\n# nothing here\n---\n{manifest('two', namespace='team')}")
        world.put("deep/er/b.yml", manifest("three"))
        world.put(".hidden.yaml", manifest("hidden"))
        world.put(".git-like/c.yaml", manifest("below-hidden"))
        async with world.running():
            assert await world.pools() == ["default/one", "default/three", "team/two"]
            assert (await world.the_pool("team/two")).status.file == "a.yaml:10"
            assert (await world.report()).status.pools == 3

    play(scene)


def test_a_broken_document_keeps_its_last_good_spec_and_disturbs_no_other() -> None:
    async def scene(world: World) -> None:
        world.put("both.yaml", f"{manifest('hello')}---\n{manifest('other')}")
        async with world.running():
            broken = manifest("hello").replace("nodes: 2", "nodes: -2")
            world.put("both.yaml", f"{broken}---\n{manifest('other', 5)}")
            await world.passes(60)

            pool = await world.the_pool()
            assert (pool.spec.nodes, pool.metadata.generation, pool.metadata.deletion_timestamp) == (2, 1, None)
            status, reason, message = await world.acceptance()
            assert (status, reason) == (Status.FALSE, Reason.MANIFEST_INVALID)
            assert message.startswith("both.yaml:5: spec.nodes: must be at least 0, not -2")
            assert await world.problems() == ["both.yaml:5: spec.nodes: must be at least 0, not -2"]
            assert (await world.events())[-1] == (Reason.MANIFEST_INVALID, 1)
            assert (await world.the_pool("default/other")).spec.nodes == 5

            world.put("both.yaml", f"{manifest('hello')}---\n{manifest('other', 5)}")
            await world.passes(1)
            assert await world.acceptance() == (Status.TRUE, Reason.MANIFEST_ACCEPTED, "")
            assert await world.problems() == []

    play(scene)


def test_a_document_that_never_made_a_pool_is_told_once_as_an_event_of_the_source() -> None:
    async def scene(world: World) -> None:
        async with world.running():
            world.put("new.yaml", manifest("new").replace("nodes: 2", "nodes: -2"))
            await world.passes(30)

            events = await world.store.read(lambda tx: tx.list(Event))
            notes = [(event.regarding.kind, event.note, event.count) for event in events if event.type == "Warning"]
            assert notes == [("Source", "new.yaml:5: spec.nodes: must be at least 0, not -2", 1)]

    play(scene)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("apiVersion: skyward.dev/v1alpha1\nmetadata: {name: hello}\nspec: [", id="not YAML, but named"),
        pytest.param("kind: Pool\nmetadata:\n  nam: hello\n", id="the name itself is broken"),
        pytest.param("\xff\xfe".encode("latin-1"), id="not UTF-8"),
        pytest.param(b"x" * (2 << 20), id="too large"),
        pytest.param("'", id="nothing can be read"),
    ],
)
def test_a_pool_whose_file_cannot_be_read_is_not_absent(content: str | bytes) -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.put("hello.yaml", content)
            await world.passes(60)

            pool = await world.the_pool()
            assert (pool.spec.nodes, pool.metadata.deletion_timestamp) == (2, None)
            assert len(await world.problems()) >= 1

    play(scene)


def test_the_same_name_in_two_files_is_a_conflict_that_changes_nothing() -> None:
    async def scene(world: World) -> None:
        world.put("a.yaml", manifest("hello"))
        async with world.running():
            world.put("b.yaml", manifest("hello", 9))
            world.put("c.yaml", f"{manifest('twice')}---\n{manifest('twice')}")
            await world.passes(60)

            assert (await world.the_pool()).spec.nodes == 2
            status, reason, message = await world.acceptance()
            assert (status, reason) == (Status.FALSE, Reason.CONFLICT)
            assert message.startswith("declared in a.yaml:1 and b.yaml:1")
            assert await world.pools() == ["default/hello"]
            assert "b.yaml:1: metadata.name: pool default/hello is also declared in a.yaml:1" in await world.problems()
            assert "c.yaml:1: metadata.name: pool default/twice is also declared in c.yaml:8" in await world.problems()

            world.files.take_away("/manifests/a.yaml")
            await world.passes(1)
            assert (await world.the_pool()).spec.nodes == 9
            assert await world.acceptance() == (Status.TRUE, Reason.MANIFEST_ACCEPTED, "")

    play(scene)


def test_a_renamed_file_is_no_change_but_of_the_place() -> None:
    async def scene(world: World) -> None:
        world.put("a.yaml", manifest("hello"))
        async with world.running():
            before = await world.the_pool()

            world.put("sub/b.yaml", f"# moved\n{manifest('hello')}")
            world.files.take_away("/manifests/a.yaml")
            await world.passes(60)

            after = await world.the_pool()
            assert after.status.file == "sub/b.yaml:2"
            assert (after.metadata.uid, after.metadata.generation) == (before.metadata.uid, 1)
            assert after.status.replace(file="") == before.status.replace(file="")

    play(scene)


@pytest.mark.parametrize("watching", list(Watching))
def test_a_change_is_seen_whatever_the_watcher_does(watching: Watching) -> None:
    async def scene(world: World) -> None:
        world.files.watching = watching
        async with world.running():
            world.put("hello.yaml", manifest("hello"))
            await world.passes(1 if watching is Watching.ALIVE else 25)

            assert await world.pools() == ["default/hello"]

    play(scene)


def test_a_watcher_that_broke_is_started_again() -> None:
    async def scene(world: World) -> None:
        world.files.watching = Watching.BREAKS
        async with world.running():
            await world.passes(25)
            world.files.watching = Watching.ALIVE
            await world.passes(25)
            watches = world.files.watches

            world.put("hello.yaml", manifest("hello"))
            await world.passes(1)

            assert await world.pools() == ["default/hello"]
            assert watches >= 3

    play(scene)


def test_somebody_who_writes_without_pause_is_heard_within_the_latency() -> None:
    async def scene(world: World) -> None:
        async with world.running():
            for count in range(250):
                world.put("hello.yaml", manifest("hello", count % 100))
                await world.passes(0.01)

            assert await world.pools() == ["default/hello"]

    play(scene)


def test_files_that_change_while_they_are_read_give_no_snapshot() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            counter = iter(range(1000))

            def change(path: str) -> None:
                if path.endswith("hello.yaml"):
                    world.files.put(path, manifest("hello", next(counter)))

            world.files.before_read = change
            await world.passes(12)
            assert (await world.the_pool()).spec.nodes == 2
            assert (await world.readiness()).reason is Reason.SOURCE_BUSY

            world.files.before_read = None
            await world.passes(12)
            assert (await world.the_pool()).spec.nodes > 2
            assert (await world.readiness()).reason is Reason.SOURCE_READ

    play(scene)


def test_content_decides_though_no_mark_of_the_file_moved() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            await world.passes(30)
            world.files.entries["/manifests/hello.yaml"] = manifest("hello", 3).encode()
            await world.passes(60 + 2 * POLL_S)

            assert (await world.the_pool()).spec.nodes == 3

    play(scene)


class DeafStore:
    """A store that never tells of a change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.installation = store.installation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def subscribe(self, callback: object) -> Callable[[], None]:
        return lambda: None


def test_a_change_of_the_store_that_nobody_told_is_found() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.store = cast(Store, DeafStore(world.store))
        async with world.running():
            await world.mark_deleted("default/hello")
            await world.finish_deletion()
            await world.passes(60 + 2 * POLL_S)

            assert (await world.the_pool()).metadata.deletion_timestamp is None

    play(scene)


def test_files_that_did_not_change_are_not_read_again() -> None:
    async def scene(world: World) -> None:
        for index in range(100):
            world.put(f"{index}.yaml", manifest(f"pool-{index}"))
        async with world.running():
            await world.passes(25)
            before = world.files.reads
            world.put("7.yaml", manifest("pool-7", 3))
            await world.passes(1)

            assert (await world.the_pool("default/pool-7")).spec.nodes == 3
            assert world.files.reads - before < 10

    play(scene)


def test_a_failing_store_does_not_end_the_loop() -> None:
    async def scene(world: World) -> None:
        async with world.running():
            world.files.faults["/manifests"] = OSError(5, "Input/output error")
            await world.passes(30)
            assert (await world.readiness()).reason is Reason.SOURCE_MISSING
            del world.files.faults["/manifests"]

            world.put("hello.yaml", manifest("hello"))
            await world.passes(30)

            assert await world.pools() == ["default/hello"]

    play(scene)
