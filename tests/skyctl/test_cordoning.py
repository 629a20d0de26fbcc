"""cordon, uncordon and drain against a real API server."""

from __future__ import annotations

import threading
import time

import pytest

from skyward.api import Node, NodeCondition, Reason, Status, set_condition, to_time
from tests.apiserver.standins import NOW, World
from tests.builders import make_node, make_pool
from tests.skyctl.conftest import Skyctl


@pytest.fixture
def nodes(world: World) -> list[str]:
    pool = make_pool()
    made = [make_node(pool, slot) for slot in range(2)]
    for obj in (pool, *made):
        world.put(obj)
    return [node.metadata.name for node in made]


def is_cordoned(world: World, name: str) -> bool:
    found = world.get(Node, f"default/{name}")
    assert found is not None
    return found.spec.unschedulable


def test_cordon_and_uncordon_take_a_node_out_of_service_and_back(
    world: World, skyctl: Skyctl, nodes: list[str]
) -> None:
    first = skyctl("cordon", nodes[0])
    again = skyctl("cordon", f"node/{nodes[0]}")

    assert (first.status, first.out) == (0, f"node.skyward.dev/{nodes[0]} cordoned\n")
    assert again.out == f"node.skyward.dev/{nodes[0]} already cordoned\n"
    assert [is_cordoned(world, name) for name in nodes] == [True, False]

    back = skyctl("uncordon", nodes[0])

    assert back.out == f"node.skyward.dev/{nodes[0]} uncordoned\n"
    assert not is_cordoned(world, nodes[0])


def test_nodes_are_chosen_by_label_and_a_dry_run_changes_nothing(
    world: World, skyctl: Skyctl, nodes: list[str]
) -> None:
    dry = skyctl("cordon", "-l", "skyward.dev/pool=hello", "--dry-run=server")
    assert dry.out.count("cordoned (server dry run)") == 2
    assert not any(is_cordoned(world, name) for name in nodes)

    skyctl("cordon", "-l", "skyward.dev/pool=hello")

    assert all(is_cordoned(world, name) for name in nodes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("cordon",), "say which nodes"),
        (("drain", "pool/hello"), "'pool/hello' is no node"),
        (("uncordon", "-l", "team=nobody"), "no matching nodes found"),
        (("cordon", "nobody"), "not found"),
        (("drain", "x", "--timeout", "soon"), "--timeout"),
    ],
    ids=["nothing", "a pool", "no match", "unknown", "timeout"],
)
def test_a_mistake_is_told_in_one_line(skyctl: Skyctl, nodes: list[str], words: tuple[str, ...], message: str) -> None:
    done = skyctl(*words)

    assert done.status == 1
    assert message in done.err
    assert done.err.count("\n") == 1


def test_drain_waits_until_nothing_runs_and_leaves_the_node_cordoned(
    world: World, skyctl: Skyctl, nodes: list[str]
) -> None:
    drained = threading.Thread(target=_drain_once_cordoned, args=(world, nodes[0]))
    drained.start()
    done = skyctl("drain", nodes[0], "--timeout", "20s")
    drained.join()

    assert done.status == 0
    assert done.out == f"node.skyward.dev/{nodes[0]} cordoned\nnode.skyward.dev/{nodes[0]} drained\n"
    assert is_cordoned(world, nodes[0])


def test_a_drain_that_takes_too_long_says_how_to_go_on(world: World, skyctl: Skyctl, nodes: list[str]) -> None:
    done = skyctl("drain", nodes[0], "--timeout", "100ms")

    assert done.status == 1
    assert "still runs tasks" in done.err
    assert is_cordoned(world, nodes[0])


def _drain_once_cordoned(world: World, name: str) -> None:
    """As the operator does: nothing runs on it any more."""
    end = time.monotonic() + 20
    while not is_cordoned(world, name) and time.monotonic() < end:
        time.sleep(0.01)
    node = world.get(Node, f"default/{name}")
    assert node is not None
    conditions = set_condition(
        node.status.conditions, NodeCondition.DRAINED, Status.TRUE, Reason.DRAINED, now=to_time(NOW)
    )
    world.put(node.replace(status=node.status.replace(conditions=conditions)))
