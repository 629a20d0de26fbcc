"""Logs of tasks and nodes, kept and followed."""

from __future__ import annotations

import pytest

from skyward.api import TaskPhase
from skyward.client.objects import ObjectClient
from skyward.errors import NotFound
from skyward_agent.wire.messages import Output
from tests.apiserver.standins import World
from tests.builders import make_node, make_pool


def piece(text: str, *, task: str = "task-t", node: str = "hello-0-n0000", item: int = 0, sequence: int = 0) -> Output:
    return Output(task=task, item=item, attempt=1, sequence=sequence, stream="stdout", data=text.encode(), node=node)


def test_a_log_shows_what_is_kept_of_its_task(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    world.write_output(piece("one\n"), piece("other\n", task="task-u"), piece("two\n"))

    assert "".join(client.log("tasks", "default", "t")) == "one\ntwo\n"
    assert "".join(client.log("tasks", "default", "t", tail=1)) == "two\n"


def test_a_prefix_stands_before_whole_lines(world: World, client: ObjectClient) -> None:
    world.queue.add("t", TaskPhase.SUCCEEDED)
    world.write_output(piece("a", node="n1"), piece("x\ny", node="n2"), piece("b\n", node="n1"))

    assert "".join(client.log("tasks", "default", "t", prefix=True)) == "[n2] x\n[n1] ab\n[n2] y\n"


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
