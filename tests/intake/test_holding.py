"""The mass-deletion guard: what one snapshot would take away from many pools waits for somebody's word, through anything."""

from __future__ import annotations

import pytest

from skyward.api import Held, Pool, Reason, Source, Status
from skyward.api.meta import APPROVED
from skyward.contracts import Manifest, Transaction
from skyward.intake import APPROVAL, HoldLimits
from tests.intake.world import POLL_S, ROOT, World, manifest, play

LONG_S = 60.0


def _declare(world: World, **nodes: int) -> None:
    for name, count in nodes.items():
        world.put(f"{name}.yaml", manifest(name, count))


def _drop(world: World, *names: str) -> None:
    for name in names:
        world.files.take_away(f"{ROOT}/{name}.yaml")


async def _held(world: World) -> Held:
    held = (await world.report()).status.held
    assert held is not None
    return held


async def _approve(world: World, hash_: str) -> None:
    def work(tx: Transaction) -> None:
        source = tx.get(Source, "default/manifests")
        assert source is not None
        tx.put(source.replace(metadata=source.metadata.replace(annotations={APPROVED: hash_})))

    await world.store.run(work)


async def _nodes(world: World) -> dict[str, int]:
    pools = await world.store.read(lambda tx: tx.list(Pool))
    return {pool.metadata.name: pool.spec.nodes for pool in pools if pool.metadata.deletion_timestamp is None}


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        pytest.param({"a": 2, "b": 2}, {"a": 2}, {"b"}, id="one of two"),
        pytest.param({"a": 2}, {}, {"a"}, id="the only one"),
        pytest.param(dict.fromkeys("abcdefgh", 1), dict.fromkeys("abcdef", 1), {"g", "h"}, id="a quarter of eight"),
        pytest.param({"a": 10, "b": 10}, {"a": 10}, {"b"}, id="ten nodes"),
    ],
)
def test_a_small_removal_needs_no_word(before: dict[str, int], after: dict[str, int], lost: set[str]) -> None:
    async def scene(world: World) -> None:
        _declare(world, **before)
        async with world.running():
            _drop(world, *before)
            _declare(world, **after)
            await world.passes(LONG_S)

            assert await _nodes(world) == after
            assert await world.leaving() == [f"default/{name}" for name in sorted(lost)]

    play(scene)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"a": 2, "b": 2}, {}, id="both"),
        pytest.param({"a": 2, "b": 2, "c": 2, "d": 2}, {"a": 2, "b": 2}, id="half"),
        pytest.param(dict.fromkeys("abcdefgh", 1), dict.fromkeys("abcde", 1), id="three of eight"),
        pytest.param({"a": 11, "b": 1}, {"b": 1}, id="one with many nodes"),
        pytest.param({"a": 3, "b": 3}, {"a": 0, "b": 0}, id="both to zero"),
        pytest.param({"a": 3, "b": 3}, {"a": 0}, id="one removed, one to zero"),
        pytest.param({"a": 8, "b": 8}, {"a": 2, "b": 2}, id="many nodes of two pools"),
    ],
)
def test_a_large_loss_is_held_and_changes_nothing(before: dict[str, int], after: dict[str, int]) -> None:
    async def scene(world: World) -> None:
        _declare(world, **before)
        async with world.running():
            _drop(world, *before)
            _declare(world, **after)
            await world.passes(LONG_S)
            assert await _nodes(world) == before
            version = await world.version()

        async with world.running():
            await world.passes(600)
            assert await _nodes(world) == before
            assert await world.version() == version

            await _approve(world, (await _held(world)).hash)
            await world.passes(1)
            assert await _nodes(world) == after

    play(scene)


@pytest.mark.parametrize("nodes", [0, 3])
def test_one_pool_made_smaller_is_a_plain_edit(nodes: int) -> None:
    async def scene(world: World) -> None:
        _declare(world, a=50, b=2)
        async with world.running():
            _declare(world, a=nodes)
            await world.passes(1)

            assert await _nodes(world) == {"a": nodes, "b": 2}

    play(scene)


def test_all_else_of_the_snapshot_takes_effect() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2, c=2)
        async with world.running():
            _drop(world, "a", "b")
            _declare(world, c=5, new=3)
            await world.passes(LONG_S)

            assert await _nodes(world) == {"a": 2, "b": 2, "c": 5, "new": 3}
            assert (await world.the_pool("default/c")).status.held is None

    play(scene)


def test_a_hold_is_told_on_the_source_and_on_each_pool_at_once() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=3, c=1)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(1)

            held = await _held(world)
            assert (held.pools, held.nodes) == (2, 5)
            assert held.changes == ("default/a: removed", "default/b: removed")
            ready = await world.readiness()
            assert (ready.status, ready.reason) == (Status.FALSE, Reason.DELETION_HELD)
            assert ready.message == (
                "the files would take away 5 nodes of 2 pools at once (default/a: removed; default/b: removed); "
                f"that is held until the files are restored or somebody runs: skyctl approve {held.hash}"
            )
            own = (await world.the_pool("default/b")).status.held
            assert own == held.replace(changes=("default/b: removed",))
            assert (await world.events("default/manifests"))[-1] == (Reason.DELETION_HELD, 1)

    play(scene)


def test_restored_files_end_the_hold() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)
            _declare(world, a=2, b=2)
            await world.passes(1)

            assert (await world.report()).status.held is None
            assert (await world.readiness()).status is Status.TRUE
            assert (await world.the_pool("default/a")).status.held is None

    play(scene)


def test_what_was_held_does_not_slip_below_the_thresholds() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2, c=2, d=2)
        async with world.running():
            _drop(world, "a", "b", "c", "d")
            _declare(world, **{f"other{index}": 1 for index in range(20)})
            await world.passes(LONG_S)
            _declare(world, a=2, b=2)
            await world.passes(LONG_S)
            await world.source.remove("default", "c")
            await world.passes(LONG_S)

            assert await world.leaving() == ["default/c"]
            assert (await _held(world)).changes == ("default/d: removed",)

    play(scene)


def test_an_approval_covers_exactly_what_was_held_and_is_used_up() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2, c=2)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)
            before = (await _held(world)).hash
            _drop(world, "c")
            await world.passes(LONG_S)
            await _approve(world, before)
            await world.passes(LONG_S)
            assert await world.leaving() == []
            assert (await world.report()).metadata.annotations == {}

            await _approve(world, (await _held(world)).hash)
            await world.passes(1)
            assert await world.leaving() == ["default/a", "default/b", "default/c"]
            source = await world.report()
            assert (source.status.held, source.metadata.annotations) == (None, {})

    play(scene)


def test_an_approval_expires_when_the_files_change() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2, c=2)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(5)
            await _approve(world, (await _held(world)).hash)
            _declare(world, c=3)
            await world.passes(LONG_S)

            assert await world.leaving() == []

    play(scene)


def test_an_approval_does_not_hasten_the_proof_of_absence() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(2)
            await _approve(world, (await _held(world)).hash)
            await world.passes(7)
            assert await world.leaving() == []

            await world.passes(2)
            assert await world.leaving() == ["default/a", "default/b"]

    play(scene)


def test_a_committed_file_approves_too() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)
            world.put(APPROVAL, "0123456789ab\n")
            await world.passes(LONG_S)
            assert await world.leaving() == []

            world.put(APPROVAL, f"{(await _held(world)).hash}\n")
            await world.passes(1)
            assert await world.leaving() == ["default/a", "default/b"]

    play(scene)


def test_the_same_loss_wanted_again_needs_a_new_word() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=3, b=3)
        async with world.running():
            _declare(world, a=0, b=0)
            await world.passes(1)
            world.put(APPROVAL, (await _held(world)).hash)
            await world.passes(1)
            assert await _nodes(world) == {"a": 0, "b": 0}

            _declare(world, a=3, b=3)
            await world.passes(1)
            _declare(world, a=0, b=0)
            await world.passes(LONG_S)
            assert await _nodes(world) == {"a": 3, "b": 3}

    play(scene)


def test_a_request_through_the_api_is_a_word_by_itself() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=3, b=3, c=3)
        async with world.running():
            for name in ("a", "b"):
                spec = {"nodes": 0, "provider": "local"}
                await world.source.write(Manifest("default", name, spec), create=False)
            await world.source.remove("default", "a")
            await world.source.remove("default", "b")

            assert await world.leaving() == ["default/a", "default/b"]
            assert (await world.report()).status.held is None

    play(scene)


def test_a_request_through_the_api_lifts_what_is_held_of_its_own_pool_alone() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=3, b=3, c=3)
        async with world.running():
            _declare(world, a=0, b=0)
            await world.passes(1)

            await world.source.write(Manifest("default", "a", {"nodes": 0, "provider": "local"}), create=False)

            assert await _nodes(world) == {"a": 0, "b": 3, "c": 3}
            assert (await _held(world)).changes == ("default/b: 3 nodes to 0",)

    play(scene)


@pytest.mark.parametrize("doubt", ["unreadable file", "no marker", "directory gone"])
def test_a_doubtful_directory_keeps_the_hold(doubt: str) -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2, c=1)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)
            marker = world.text(".skyward-source")
            if doubt == "unreadable file":
                world.put("x.yaml", b"\xff")
            else:
                world.files.take_away(f"{ROOT}/.skyward-source" if doubt == "no marker" else ROOT)
            await world.passes(LONG_S)
            assert (await world.the_pool("default/a")).status.held is not None
            held = await _held(world)
            await _approve(world, held.hash)
            await world.passes(LONG_S)
            assert await world.leaving() == []

            _drop(world, "x")
            world.put(".skyward-source", marker)
            _declare(world, c=1)
            await world.passes(LONG_S)
            assert await world.leaving() == ([] if doubt == "unreadable file" else ["default/a", "default/b"])

    play(scene)


def test_pools_of_all_namespaces_count_together() -> None:
    async def scene(world: World) -> None:
        world.put("a.yaml", manifest("hello", namespace="one"))
        world.put("b.yaml", manifest("hello", namespace="two"))
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)

            assert (await _held(world)).changes == ("one/hello: removed", "two/hello: removed")

    play(scene)


def test_the_thresholds_are_settings() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=20, b=20)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)

            assert await world.leaving() == ["default/a", "default/b"]

    play(scene, limits=HoldLimits(pools=2, nodes=40))


def test_a_pool_deleted_through_the_api_leaves_the_others_held() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)
            await world.source.remove("default", "a")
            await world.finish_deletion("default/a")
            await world.passes(LONG_S)

            assert (await _held(world)).changes == ("default/b: removed",)
            assert await world.leaving() == []

    play(scene)


@pytest.mark.slow
def test_a_hold_that_nobody_answers_writes_nothing_for_a_day() -> None:
    async def scene(world: World) -> None:
        _declare(world, a=2, b=2)
        async with world.running():
            _drop(world, "a", "b")
            await world.passes(LONG_S)
            version, readings = await world.version(), world.files.walks
            await world.passes(86_400)

            assert await world.version() == version
            assert world.files.walks - readings <= 2 * (86_400 / POLL_S + 1)

    play(scene)
