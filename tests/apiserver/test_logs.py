"""Logs of tasks and nodes, kept and followed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skyward.api import TaskPhase
from skyward.client.logs import LogQuery
from skyward.client.objects import ObjectClient
from skyward.errors import NotFound, UserError
from skyward_agent.wire.messages import Output
from tests.apiserver.standins import World
from tests.builders import make_node, make_pool

QUERY = LogQuery("tasks", "default", "t")


def piece(text: str, *, task: str = "task-t", node: str = "hello-0-n0000", item: int = 0, sequence: int = 0) -> Output:
    return Output(task=task, item=item, attempt=1, sequence=sequence, stream="stdout", data=text.encode(), node=node)


def test_a_log_shows_what_is_kept_of_its_task(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    world.write_output(piece("one\n"), piece("other\n", task="task-u"), piece("two\n"))

    assert "".join(client.log("tasks", "default", "t")) == "one\ntwo\n"
    assert "".join(client.log("tasks", "default", "t", tail=1)) == "two\n"


def test_a_log_that_was_cut_off_is_read_on_from_its_offset(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    world.write_output(piece("one\ntwo\n"), piece("three\n"))
    first = next(iter(client.log_records(QUERY)))
    half = replace(QUERY, offset=4, origin=client.log_origin)

    assert (first.offset, first.line, first.data, first.node) == (0, 0, b"one\ntwo\n", "hello-0-n0000")
    assert [(r.offset, r.line, r.data) for r in client.log_records(half)] == [(4, 1, b"two\n"), (8, 2, b"three\n")]
    assert list(client.log_records(replace(half, offset=14))) == []


def test_an_offset_of_another_operator_process_is_not_heeded(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    world.write_output(piece("one\n"))

    found = client.log_records(replace(QUERY, offset=4, origin="another"))

    assert [record.data for record in found] == [b"one\n"]


def test_what_the_log_let_go_is_a_gap_of_that_size(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    world.write_output(*(piece("x" * 99_999 + "\n", sequence=n) for n in range(60)))

    gap, *kept = client.log_records(QUERY)

    assert gap.gap == kept[0].offset > 0
    assert kept[-1].end == 6_000_000
    assert "".join(client.log("tasks", "default", "t")).startswith(f"[… {gap.gap} bytes of output dropped]\nxx")


def test_the_previous_attempt_alone_is_shown_when_it_is_asked_for(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    first, second = piece("first\n"), replace(piece("second\n"), attempt=2)
    world.write_output(first, second, piece("other item\n", item=1))

    found = client.log_records(replace(QUERY, previous=True))

    assert [record.data for record in found] == [b"first\n"]


def test_one_item_and_a_time_can_be_asked_for(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    world.write_output(piece("a\n"), piece("b\n", item=1))

    assert [record.data for record in client.log_records(replace(QUERY, item=1))] == [b"b\n"]
    assert len(list(client.log_records(replace(QUERY, since_s=3600)))) == 2
    assert [record.data for record in client.log_records(replace(QUERY, item=1, tail=5))] == [b"b\n"]


@pytest.mark.parametrize(
    ("plural", "query", "message"),
    [
        ("tasks", {"previous": True, "follow": True}, "is not followed"),
        ("nodes", {"previous": True}, "a node's log has neither"),
        ("nodes", {"item": 1}, "a node's log has neither"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    world: World, client: ObjectClient, plural: str, query: dict[str, Any], message: str
) -> None:
    node = world.put(make_node(make_pool()))
    task = world.queue.add("t", TaskPhase.SUCCEEDED)
    name = (node if plural == "nodes" else task).metadata.name

    with pytest.raises(UserError, match=message):
        list(client.log_records(LogQuery(plural, "default", name, **query)))


@pytest.mark.slow
def test_a_followed_log_goes_on_until_the_task_is_finished(world: World, client: ObjectClient) -> None:
    world.queue.add("t")
    world.write_output(piece("one\n"))

    log = client.log("tasks", "default", "t", follow=True)
    first = next(log)
    world.write_output(piece("two\n", sequence=1), piece("other\n", task="task-u"))
    second = next(log)
    world.queue.add("t", TaskPhase.SUCCEEDED)

    assert (first, second, list(log)) == ("one\n", "two\n", [])


def test_a_nodes_log_is_found_by_its_name(world: World, client: ObjectClient) -> None:
    node = world.put(make_node(make_pool()))
    world.write_output(piece("here\n", node=node.metadata.name), piece("there\n", node="other"))

    assert "".join(client.log("nodes", "default", node.metadata.name)) == "here\n"


def test_the_log_of_an_unknown_task_is_not_found(client: ObjectClient) -> None:
    with pytest.raises(NotFound, match=r'tasks\.skyward\.dev "none" not found'):
        list(client.log("tasks", "default", "none"))
