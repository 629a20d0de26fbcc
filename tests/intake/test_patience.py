"""How soon a change is believed and how long is waited: slow writers, storms, dead watchers, and Git that was forgotten."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from skyward.api import Event, Reason, Source, Status
from skyward.api.meta import READ_DESPITE
from skyward.contracts import Manifest, Transaction
from skyward.intake import MARKER
from tests.intake.files import Watching
from tests.intake.world import POLL_S, ROOT, World, manifest, play

LOCK = f"{ROOT}/.git/index.lock"


async def _override(world: World, sign: str) -> None:
    def work(tx: Transaction) -> None:
        source = tx.get(Source, "default/manifests")
        assert source is not None
        tx.put(source.replace(metadata=source.metadata.replace(annotations={READ_DESPITE: sign})))

    await world.store.run(work)


async def _warnings(world: World) -> list[str]:
    events = await world.store.read(lambda tx: tx.list(Event))
    return [event.note for event in events if event.reason is Reason.SOURCE_BUSY and event.type == "Warning"]


# --- how soon ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pause_s", [0.001, 0.05, 0.5])
def test_a_file_that_comes_byte_by_byte_is_never_taken_in_part(pause_s: float) -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        seen: set[int] = set()
        async with world.running():
            text = manifest("hello", 37)
            for length in range(len(text) + 1):
                world.put("hello.yaml", text[:length])
                await world.passes(pause_s)
                seen.add((await world.the_pool()).spec.nodes)
            await world.passes(3)

            assert (await world.the_pool()).spec.nodes == 37
            assert seen <= {2, 37}
            assert (await world.acceptance())[0] is Status.TRUE

    play(scene)


@pytest.mark.parametrize("watching", [Watching.SILENT, Watching.ENDS, Watching.BREAKS])
def test_without_a_watcher_a_change_is_seen_within_one_poll(watching: Watching) -> None:
    async def scene(world: World) -> None:
        world.files.watching = watching
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            for nodes in (3, 4, 5):
                world.put("hello.yaml", manifest("hello", nodes))
                await world.passes(POLL_S + 1)
                assert (await world.the_pool()).spec.nodes == nodes

    play(scene)


def test_a_poll_that_meets_a_writer_waits_until_he_is_done() -> None:
    async def scene(world: World) -> None:
        world.files.watching = Watching.SILENT
        world.files.make_directory(f"{ROOT}/.git")
        world.put("a.yaml", manifest("a"))
        async with world.running():
            await world.passes(POLL_S - 0.5)
            for nodes in (3, 4):
                world.put("a.yaml", manifest("a", nodes))
                await world.passes(0.7)
                assert (await world.the_pool("default/a")).spec.nodes == 2
            await world.passes(3)

            assert (await world.the_pool("default/a")).spec.nodes == 4

    play(scene)


def test_a_broken_manifest_is_told_within_five_seconds_and_heals_by_itself() -> None:
    async def scene(world: World) -> None:
        world.files.make_directory(f"{ROOT}/.git")
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.put("hello.yaml", "spec: [")
            await world.passes(5)
            assert (await world.acceptance())[:2] == (Status.FALSE, Reason.MANIFEST_INVALID)
            assert len(await world.problems()) == 1

            world.put("hello.yaml", manifest("hello"))
            await world.passes(5)
            assert (await world.acceptance())[0] is Status.TRUE
            assert await world.problems() == []

    play(scene)


@pytest.mark.slow
def test_a_storm_of_edits_costs_one_look_in_two_seconds() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            walks = world.files.walks
            for count in range(6_000):
                world.put("hello.yaml", manifest("hello", count % 100 + 1))
                await world.passes(0.001)
            looks = (world.files.walks - walks) / 2
            await world.passes(1)

            assert looks <= 6 / 2 + 1
            assert (await world.the_pool()).spec.nodes == 5_999 % 100 + 1

    play(scene)


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE], ids=errno.errorcode.get
)
@pytest.mark.parametrize("place", [ROOT, f"{ROOT}/hello.yaml", f"{ROOT}/.skyward-source"])
def test_no_error_of_the_file_system_deletes_anything(place: str, number: int) -> None:
    async def scene(world: World) -> None:
        for name in ("hello", "other"):
            world.put(f"{name}.yaml", manifest(name))
        async with world.running():
            world.files.faults[place] = OSError(number, "fault")
            world.files.take_away(f"{ROOT}/other.yaml")
            await world.passes(120)
            assert await world.leaving() == []

            del world.files.faults[place]
            await world.passes(30)
            assert await world.leaving() == ["default/other"]

    play(scene)


def test_evidence_that_ripens_in_a_doubtful_moment_counts_for_nothing() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            marker = world.text(MARKER)
            world.files.take_away(f"{ROOT}/hello.yaml")
            await world.passes(9)
            world.files.watching = Watching.SILENT
            world.files.take_away(f"{ROOT}/{MARKER}")
            await world.passes(3)
            assert await world.leaving() == []

            world.put(MARKER, marker)
            await world.passes(30)
            assert await world.leaving() == ["default/hello"]

    play(scene)


def _fails(world: World) -> None:
    world.files.faults[ROOT] = OSError(errno.EIO, "Input/output error")
    world.put("note.txt", "so that somebody looks")


def _is_mended(world: World) -> None:
    del world.files.faults[ROOT]


def _is_replaced(world: World) -> None:
    marker = world.text(MARKER)
    world.files.take_away(ROOT)
    world.put(MARKER, marker)


DOUBTS = {
    "outage": (_fails, _is_mended),
    "busy git": (lambda world: world.files.put(LOCK, ""), lambda world: world.files.take_away(LOCK)),
    "unknown file": (
        lambda world: world.put("x.yaml", b"\xff"),
        lambda world: world.files.take_away(f"{ROOT}/x.yaml"),
    ),
    "replaced directory": (_is_replaced, lambda world: None),
}


@pytest.mark.parametrize(("begin", "end"), DOUBTS.values(), ids=DOUBTS)
def test_a_doubt_breaks_the_chain_of_evidence(begin: Callable[[World], None], end: Callable[[World], None]) -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.files.take_away(f"{ROOT}/hello.yaml")
            await world.passes(4)
            begin(world)
            await world.passes(4)
            end(world)
            await world.passes(5)
            assert await world.leaving() == []

            await world.passes(30)
            assert await world.leaving() == ["default/hello"]

    play(scene)


# --- how long ----------------------------------------------------------------------------------------------------------


def test_git_that_is_busy_for_ten_minutes_is_an_event_that_says_what_to_do() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.files.put(LOCK, "")
            await world.passes(590)
            waiting = "waiting for git in /manifests: a command is running (index.lock exists)"
            assert await _warnings(world) == [waiting]
            await world.passes(900)

            (note,) = set(await _warnings(world)) - {waiting}
            assert note == (
                f"{waiting}; it has been so for 10 minutes: "
                f"finish or abort it; if nothing of it runs any more, remove {LOCK}; "
                "or have the files read as they are: skyctl approve index.lock"
            )

    play(scene)


def test_the_files_are_read_in_spite_of_git_when_somebody_says_so() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.files.put(LOCK, "")
            world.put("hello.yaml", manifest("hello", 3))
            await world.passes(60)
            assert (await world.report()).status.unfinished == "index.lock"

            await _override(world, "MERGE_HEAD")
            await world.passes(60)
            assert (await world.the_pool()).spec.nodes == 2

            await _override(world, "index.lock")
            await world.passes(5)
            assert (await world.the_pool()).spec.nodes == 3
            assert "read although git is not finished (index.lock)" in (await world.readiness()).message
            await world.source.write(Manifest("default", "hello", {"nodes": 4, "provider": "local"}), create=False)
            assert (await world.the_pool()).spec.nodes == 4

    play(scene)


def test_the_override_ends_with_what_it_was_given_for() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            world.files.put(LOCK, "")
            await world.passes(5)
            await _override(world, "index.lock")
            await world.passes(5)
            world.files.take_away(LOCK)
            await world.passes(5)
            assert (await world.report()).metadata.annotations == {}

            world.files.put(LOCK, "")
            world.put("hello.yaml", manifest("hello", 3))
            await world.passes(60)
            assert (await world.the_pool()).spec.nodes == 2

    play(scene)


# --- whose hand --------------------------------------------------------------------------------------------------------


def test_the_operator_writes_no_manifest_of_its_own_accord() -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello").replace("nodes", "# odd\n  nodes"))
        world.put("twice.yaml", f"{manifest('twice')}---\n{manifest('twice')}")
        async with world.running():
            world.put("hello.yaml", "spec: [")
            await world.passes(30)
            world.put("hello.yaml", manifest("hello", 0))
            await world.passes(30)
            world.files.take_away(f"{ROOT}/hello.yaml")
            await world.passes(30)
            await world.finish_deletion()
            await world.passes(30)

            assert world.files.writes == 1
            assert world.is_marked

    play(scene)


@pytest.mark.parametrize("after_s", [0.5, 15.0, 30.0])
def test_a_pool_that_comes_back_is_the_same_one_or_a_new_one_but_never_half(after_s: float) -> None:
    async def scene(world: World) -> None:
        world.put("hello.yaml", manifest("hello"))
        async with world.running():
            old = (await world.the_pool()).metadata
            world.files.take_away(f"{ROOT}/hello.yaml")
            await world.passes(after_s)
            world.put("hello.yaml", manifest("hello", 5))
            await world.passes(5)
            if after_s > 10:
                leaving = await world.the_pool()
                assert (leaving.metadata.uid, leaving.spec.nodes) == (old.uid, 2)
                await world.finish_deletion()
                await world.passes(1)

            new = await world.the_pool()
            assert (new.metadata.uid == old.uid) is (after_s < 10)
            assert (new.spec.nodes, new.metadata.deletion_timestamp) == (5, None)

    play(scene)


def test_no_time_and_no_generation_goes_back_though_the_clock_does() -> None:
    async def scene(world: World) -> None:
        times, generations, reads = [], [], []
        async with world.running():
            for step in range(8):
                world.put("hello.yaml", manifest("hello", step) if step % 2 else "spec: [")
                if step == 4:
                    world.clock.set_wall(-86_400)
                await world.passes(5)
                source = await world.report()
                assert source.status.last_read is not None
                reads.append(source.status.last_read)
                pool = await world.pool()
                if pool is not None:
                    accepted = pool.status.conditions[-1]
                    times.append(accepted.last_transition_time)
                    generations.append((pool.metadata.generation, accepted.observed_generation))

        assert times == sorted(times)
        assert generations == sorted(generations)
        assert reads == sorted(reads)

    play(scene)
