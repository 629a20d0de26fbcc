"""The local driver beyond the contract: crashes, processes, faults."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skyward.api import Json
from skyward.drivers.local.models import Record
from skyward.errors import InsufficientCapacity, OutcomeUnknown, ProviderUnavailable, RequestRejected
from skyward.facts import InstanceState
from tests.drivers.rooms import OWNER, Room, make_driver, processes_of, room, until


def check(directory: Path, test: Callable[[Room], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with room(directory) as opened:
            await test(opened)

    asyncio.run(inside())


def faults(**values: object) -> Json:
    return {"faults": values}


def server_pid(directory: Path) -> int:
    return int(json.loads((directory / "process.json").read_text())["pid"])


def test_a_node_outlives_its_operator_and_is_found_again(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()

        successor = make_driver(tmp_path / "nodes", tmp_path / "cache")

        assert (await successor.list(OWNER)).instances == (node,)

    check(tmp_path, test)


def test_a_killed_server_is_a_failed_node_with_a_reason(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()

        os.kill(server_pid(room.path(node)), signal.SIGKILL)

        failed = await room.until(node.id, InstanceState.FAILED)
        assert failed.message == "its SSH server stopped"
        assert (await room.driver.create(room.request())).instances[0].state is InstanceState.FAILED

    check(tmp_path, test)


def test_a_server_that_cannot_start_fails_with_the_last_line_of_its_log(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        driver = make_driver(tmp_path / "nodes", tmp_path / "cache")
        driver._host = replace(driver._host, python="/no/such/python")

        instance = (await driver.create(room.request())).instances[0]

        failed = await room.until(instance.id, InstanceState.FAILED)
        assert "/no/such/python" in failed.message

    check(tmp_path, test)


def test_a_crash_before_the_rename_leaves_nothing_but_what_the_next_operator_sweeps(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        half = tmp_path / "nodes" / ".tmp-launch-0001-0-abcde-dead1"
        (half / "home").mkdir(parents=True)
        (half / "instance.json").write_text("{}")

        assert (await room.driver.list(OWNER)).instances == ()

        assert not half.exists()

    check(tmp_path, test)


def test_a_crash_before_the_server_start_is_finished_by_the_replay(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        os.kill(server_pid(room.path(node)), signal.SIGKILL)
        (room.path(node) / "process.json").unlink()
        assert (await room.driver.get(node.id)).state is InstanceState.STARTING

        await room.driver.create(room.request())

        again = await room.until(node.id, InstanceState.UP)
        assert again.port == node.port
        assert again.host_key == node.host_key

    check(tmp_path, test)


def test_a_second_server_of_one_node_ends_and_the_first_stays_on_record(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        first = server_pid(room.path(node))
        (room.path(node) / "process.json").rename(tmp_path / "kept")

        await room.driver.create(room.request())

        second = server_pid(room.path(node))
        assert second != first
        await until(lambda: _answer(second not in processes_of(node.id)))
        assert first in processes_of(node.id)

    check(tmp_path, test)


def test_deleting_leaves_no_process_however_it_hid_and_no_file_however_it_is_protected(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        plain, bare, stubborn = room.nap(1), room.nap(2), room.nap(3)
        hide = f"(setsid sleep {plain} &); (setsid env -i sleep {bare} &); nohup sleep {stubborn} & sleep 0.1; echo started"
        node = await room.node()
        home = room.path(node) / "home"
        async with room.connect(node) as ssh:
            done = await ssh.run(f"sh -c {hide!r} </dev/null 2>&1 | head -1")
            assert done.stdout.strip() == "started"
        assert len(sleepers(plain, bare, stubborn)) == 3
        (home / "locked" / "deep").mkdir(parents=True)
        (home / "locked" / "deep" / "file").write_text("x")
        (home / "locked" / "deep").chmod(0o500)
        (home / "locked").chmod(0o000)
        (home / "elsewhere").symlink_to(tmp_path / "cache")

        await room.driver.delete(node.id)

        assert processes_of(node.id) == {}
        assert not sleepers(plain, bare, stubborn)
        assert [path.name for path in (tmp_path / "nodes").iterdir()] == []

    check(tmp_path, test)


def test_a_node_that_lost_its_server_is_deleted_with_what_still_runs_on_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        async with room.connect(node) as ssh:
            await ssh.run(f"setsid sleep {room.nap(4)} >/dev/null 2>&1 </dev/null &")
        os.kill(server_pid(room.path(node)), signal.SIGKILL)
        await room.until(node.id, InstanceState.FAILED)

        await room.driver.delete(node.id)

        assert not sleepers(room.nap(4))

    check(tmp_path, test)


def test_a_node_whose_removal_broke_off_is_listed_as_failed_and_can_be_deleted_again(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        (room.path(node) / "leaving").touch()  # an operator died here

        (listed,) = (await room.driver.list(OWNER)).instances
        await room.driver.delete(node.id)

        assert (listed.state, listed.message) == (InstanceState.FAILED, "its removal was interrupted")
        assert (await room.driver.list(OWNER)).instances == ()


def test_a_node_is_listed_as_leaving_while_it_is_removed(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        states: set[InstanceState] = set()
        deleting = asyncio.ensure_future(room.driver.delete(node.id))

        while not deleting.done():
            states.update(instance.state for instance in (await room.driver.list(OWNER)).instances)
        await deleting

        assert states <= {InstanceState.UP, InstanceState.LEAVING}

    check(tmp_path, test)


def test_powering_off_ends_the_whole_tree(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = await room.node()
        async with room.connect(node) as ssh:
            await ssh.run(f'(setsid sleep {room.nap(5)} &) >/dev/null 2>&1; sh -c "$SKYWARD_POWEROFF"')

        failed = await room.until(node.id, InstanceState.FAILED)

        assert failed.message == "its SSH server stopped: powered off"
        await until(lambda: _answer(not sleepers(room.nap(5))))

    check(tmp_path, test)


def test_an_unreadable_record_makes_the_listing_fail_rather_than_be_a_part(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        (tmp_path / "nodes" / "broken-0").mkdir(parents=True)
        (tmp_path / "nodes" / "broken-0" / "instance.json").write_text("{")

        with pytest.raises(ProviderUnavailable, match=r"broken-0/instance\.json"):
            await room.driver.list(OWNER)

        (tmp_path / "nodes" / "broken-0" / "instance.json").unlink()

    check(tmp_path, test)


def test_a_name_that_is_a_path_is_nobody(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        (tmp_path / "precious").mkdir()

        await room.driver.delete("../precious")

        assert (tmp_path / "precious").exists()

    check(tmp_path, test)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_the_first_creates_fail_and_go_on_being_counted_after_a_restart(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        options = faults(failedCreates=2)
        with pytest.raises(InsufficientCapacity):
            await room.driver.create(room.request(1, options=options))
        successor = make_driver(tmp_path / "nodes", tmp_path / "cache")
        with pytest.raises(InsufficientCapacity):
            await successor.create(room.request(2, options=options))

        outcome = await successor.create(room.request(3, options=options))

        assert len(outcome.instances) == 1
        assert len((await successor.list(OWNER)).instances) == 1

    check(tmp_path, test)


def test_a_lost_reply_did_the_work_and_the_replay_answers_with_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        request = room.request(options=faults(lostReplies=1))
        with pytest.raises(OutcomeUnknown) as lost:
            await room.driver.create(request)
        assert lost.value.token == request.launch
        listed = (await room.driver.list(OWNER)).instances

        outcome = await room.driver.create(request)

        assert [instance.id for instance in outcome.instances] == [instance.id for instance in listed]

    check(tmp_path, test)


def test_a_slow_boot_stays_starting_and_its_deletion_does_not_wait_for_it(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        outcome = await room.driver.create(room.request(options=faults(slowBoot="1h")))
        node = outcome.instances[0]
        await until(lambda: _answer((room.path(node) / "lock").exists()))

        assert (await room.driver.get(node.id)).state is InstanceState.STARTING

    check(tmp_path, test)


def test_a_spot_node_is_taken_away_with_all_its_processes(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        node = (await room.driver.create(room.request(options=faults(spotLossAfter="300ms")))).instances[0]

        lost = await room.until(node.id, InstanceState.PREEMPTED)

        assert "rehearsed" in lost.message
        await until(lambda: _answer(processes_of(node.id) == {}))

    check(tmp_path, test)


def test_a_rehearsed_loss_counts_from_when_the_node_was_up(tmp_path: Path) -> None:
    record = Record("i", "launch", "owner", "uid", "default/p", 1000.0, "me", "key", loss_after_s=10.0)

    assert not record.is_taken(tmp_path, 5000.0), "it is not up yet, however long it takes"
    (tmp_path / "port").write_text("22")
    os.utime(tmp_path / "port", (5000.0, 5000.0))

    assert not record.is_taken(tmp_path, 5009.0)
    assert record.is_taken(tmp_path, 5010.0)


def test_a_wrong_duration_in_the_options_is_rejected_by_field(tmp_path: Path) -> None:
    async def test(room: Room) -> None:
        with pytest.raises(RequestRejected, match="slowBoot") as rejected:
            await room.driver.create(room.request(options=faults(slowBoot="soon")))
        assert rejected.value.field == "options.faults.slowBoot"

    check(tmp_path, test)


def sleepers(*arguments: str) -> list[int]:
    wanted = {f"sleep\0{argument}\0".encode() for argument in arguments}
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if (path / "cmdline").read_bytes() in wanted:
                    found.append(int(path.name))
            except OSError:
                continue
    return found


async def _answer(value: bool) -> bool:
    return value
