"""Large arguments, results and files: from the caller to a function on a node and back."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyward.errors import PayloadLost, PayloadTooLarge, StorageFull, UserError
from tests.payloads.stage import Stage, calling, staged

pytestmark = pytest.mark.slow
MIB = 2**20


class Array:
    """Pickles as arrays do: its bytes out of band."""

    def __init__(self, data: object) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return Array, (pickle.PickleBuffer(self.data),)  # type: ignore[arg-type]


def double(array: Array) -> Array:
    view = memoryview(array.data)  # type: ignore[arg-type]
    view[0] = 255  # what a function gets is its own, and can be written to
    return Array(bytes(view) * 2)


def same(value: object) -> object:
    return value


def read(file: str) -> str:
    with open(file) as content:
        return content.read()


def write_to(file: str) -> None:
    with open(file, "w") as content:
        content.write("changed")


@pytest.fixture(params=[True, False], ids=["by file", "by connection"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, is_shared=request.param) as stage:
        yield stage


def test_large_payloads_arrive_and_come_back(stage: Stage) -> None:
    data = bytearray(os.urandom(20 * MIB))

    with calling(stage) as pool:
        result = pool.run(double, Array(data))
        plain = pool.run(same, bytes(data))

    assert bytes(memoryview(result.data)) == (b"\xff" + data[1:]) * 2  # type: ignore[arg-type]
    assert plain == data
    assert not [path.name for path in (stage.root / "shared").iterdir() if path.name != "proof"]


def test_a_call_is_what_it_was_when_it_was_made(stage: Stage) -> None:
    data = bytearray(b"a" * 4 * MIB)
    with calling(stage) as pool:
        future = pool.submit(same, Array(data))
        data[:] = b"b" * len(data)

        result = future.result(30)

    assert bytes(memoryview(result.data)) == b"a" * 4 * MIB  # type: ignore[attr-defined]


def test_a_map_over_large_items_gives_each_its_own(stage: Stage) -> None:
    items = [bytes([number]) * MIB for number in range(12)]

    with calling(stage) as pool:
        assert list(pool.map(same, items)) == items


def test_what_a_node_has_it_does_not_fetch_again(stage: Stage) -> None:
    data = os.urandom(MIB)
    with calling(stage) as pool:
        pool.run(len, data)
        (blob,) = stage.blobs_of_node()
        before = (stage.homes["uid-n0"].path / "blobs" / blob).stat().st_ino
        pool.run(len, data)

    assert stage.blobs_of_node() == {blob}
    assert (stage.homes["uid-n0"].path / "blobs" / blob).stat().st_ino == before


def test_a_blob_that_vanished_is_an_error_that_says_so(stage: Stage) -> None:
    data = os.urandom(MIB)
    with calling(stage) as pool:
        pool.run(len, data)
        for path in (*(stage.root / "whole").iterdir(), *(stage.homes["uid-n0"].path / "blobs").iterdir()):
            path.unlink()

        with pytest.raises(PayloadLost):
            pool.run(len, data)

        assert pool.run(len, data) == MIB


def test_files_travel_with_a_call(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("some words")
    (tmp_path / "empty").touch()
    with calling(stage) as pool:
        words, empty = pool.put(tmp_path / "words.txt"), pool.put(tmp_path / "empty")

        assert pool.run(read, words) == "some words"
        assert list(pool.map(read, [words, empty, words])) == ["some words", "", "some words"]
        placed = pool.options(files={"in/words.txt": words, "again.txt": tmp_path / "words.txt"})
        assert placed.run(read, "in/words.txt") == placed.run(read, "again.txt") == "some words"
        assert len(stage.blobs_of_node()) == 2


def test_a_file_that_changed_after_it_was_put_is_not_sent_as_what_it_was(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("some words")
    with calling(stage) as pool:
        put = pool.put(path)
        path.write_text("what words")

        with pytest.raises(PayloadLost, match="digest"):
            pool.run(read, put)
        path.unlink()
        with pytest.raises(PayloadLost, match="cannot be read"):
            pool.run(read, put)


@pytest.mark.parametrize("name", ["../x", "/x", "", ".", "a/../../x"])
def test_files_lie_below_the_tasks_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").touch()
    with staged(tmp_path, nodes=0) as stage, calling(stage) as pool, pytest.raises(UserError, match="relative path"):
        pool.options(files={name: tmp_path / "x"})


def test_what_is_no_file_cannot_be_put(tmp_path: Path) -> None:
    with staged(tmp_path, nodes=0) as stage, calling(stage) as pool:
        with pytest.raises(UserError, match="not a file"):
            pool.put(tmp_path)
        with pytest.raises(UserError, match="cannot be read"):
            pool.put(tmp_path / "nothing")


@pytest.mark.parametrize("is_shared", [True, False], ids=["by file", "by connection"])
def test_an_argument_of_two_gigabytes_is_told_the_limit_and_leaves_nothing(tmp_path: Path, is_shared: bool) -> None:
    with staged(tmp_path, is_shared=is_shared, limit=32 * MIB) as stage, calling(stage) as pool:
        with pytest.raises(PayloadTooLarge, match="32 MiB"):
            pool.run(len, bytes(300 * MIB))

        assert pool.run(len, b"x") == 1
        assert not [path.name for path in (stage.root / "shared").iterdir() if path.name != "proof"]


def test_a_result_that_finds_no_room_fails_its_call_only(tmp_path: Path) -> None:
    with staged(tmp_path, limit=8 * MIB) as stage, calling(stage) as pool:
        with pytest.raises(PayloadTooLarge, match="8 MiB"):
            pool.run(bytes, 20 * MIB)
        assert len(pool.run(bytes, 5 * MIB)) == 5 * MIB
        with pytest.raises(StorageFull):
            pool.run(bytearray, 6 * MIB)

        assert pool.run(len, b"x") == 1


def test_a_result_outlives_an_agent_that_could_not_deliver_it(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def make(gate: str) -> bytes:
        import pathlib
        import time

        while not pathlib.Path(gate).exists():
            time.sleep(0.01)
        return b"x" * 4 * 2**20

    with staged(tmp_path) as stage, calling(stage) as pool:
        future = pool.submit(make, str(gate))
        stage.await_(lambda: stage.world.queue.started_attempts, "it to begin")
        stage.do(stage.world.stop())
        gate.touch()
        home = stage.homes["uid-n0"]
        stage.await_(lambda: list((home.path / "spool").glob("*.report")), "the report on disk")
        home.end()
        home.start()
        stage.do(stage.world.start())

        assert future.result(60) == b"x" * 4 * MIB
