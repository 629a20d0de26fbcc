"""The `why` subresource: a story of what was decided, also about what is gone."""

from __future__ import annotations

import httpx
import pytest

from skyward.api import Node, Pool, Reason, Task, TaskFailure, TaskPhase, to_time
from skyward.client.objects import ObjectClient
from skyward.errors import NotFound
from skyward.facts import Decision, DecisionKind, DecisionRecord
from tests.apiserver.standins import NOW, World
from tests.builders import make_node, make_pool, ready_conditions

POOL = make_pool("hello", 2)
NODE = make_node(POOL, 1)
HOLD = Decision(DecisionKind.HOLD, "paused", Reason.PAUSED, "nothing is changed", (("nodes", 2), ("ready", 1.5)))
MADE = Decision(DecisionKind.CREATE, "replicas", Reason.TOO_FEW_NODES, "0 of 2 wanted nodes stand", (), "0, 1")
WENT = Decision(DecisionKind.RETIRE, "replace-broken", Reason.INTERRUPTED, "its provider took the instance away")
COOLING = Decision(DecisionKind.WAIT, "cool-down", Reason.INSUFFICIENT_CAPACITY, "all offerings were refused lately")


def decided(
    world: World, about: Pool | Node, decision: Decision, at: float = NOW, until: float | None = None, count: int = 1
) -> None:
    record = DecisionRecord(about.kind, about.metadata.uid, about.key, decision, at, until, count)
    world.do(world.store.run(lambda tx: tx.put_decision(record)))


def lines(story: dict, title: str) -> list[dict]:
    return [line for chapter in story["chapters"] if chapter["title"] == title for line in chapter["lines"]]


def test_a_pools_story_has_times_rules_and_inputs(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    decided(world, POOL, MADE, NOW - 60, NOW - 30, count=3)
    decided(world, POOL, HOLD, NOW - 10)

    story = client.why("pools", "default", "hello")

    assert (story["kind"], story["apiVersion"]) == ("Why", "skyward.dev/v1alpha1")
    assert story["about"] == {"kind": "Pool", "namespace": "default", "name": "hello", "gone": False}
    assert lines(story, "What holds now") == [
        {
            "sentence": "nothing is changed",
            "time": to_time(NOW - 10).isoformat().replace("+00:00", "Z"),
            "stands": True,
            "decision": "hold",
            "rule": "paused",
            "reason": "Paused",
            "inputs": {"nodes": 2, "ready": 1.5},
        }
    ]
    [made] = lines(story, "What happened lately")
    assert made["sentence"] == "making nodes for slots 0, 1: 0 of 2 wanted nodes stand"
    assert (made["count"], made["until"]) == (3, to_time(NOW - 30).isoformat().replace("+00:00", "Z"))


def test_a_wait_of_a_moment_is_not_worth_a_line(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    decided(world, POOL, HOLD, NOW - 60, NOW - 59)
    decided(world, POOL, COOLING, NOW - 60, NOW - 30)

    assert [line["rule"] for line in lines(client.why("pools", "default", "hello"), "What happened lately")] == [
        "cool-down"
    ]


def test_a_nodes_story_says_what_it_was_made_for_and_why_it_went(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    decided(world, NODE, Decision(DecisionKind.CREATE, "replicas", Reason.TOO_FEW_NODES, "too few", (), "1"))
    decided(world, NODE, WENT, NOW + 5, NOW + 5)

    story = client.why("nodes", "default", NODE.metadata.name)

    assert story["summary"] == f"node {NODE.metadata.name} is gone: its provider took the instance away"
    assert story["about"]["gone"]
    assert [line["sentence"] for line in lines(story, "Why it was made")] == ["made for slot 1: too few"]
    assert story["see"] == ["pool/hello"]


def test_of_two_objects_of_one_name_the_last_is_told(world: World, client: ObjectClient) -> None:
    earlier = make_pool("hello", uid="earlier")
    decided(world, earlier, MADE, NOW - 100, NOW - 100)
    decided(world, POOL, WENT, NOW, NOW)

    story = client.why("pools", "default", "hello")

    assert [line["rule"] for line in lines(story, "What happened lately")] == ["replace-broken"]


def test_a_living_object_is_told_without_what_was_before_it(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    decided(world, make_pool("hello", uid="earlier"), HOLD)

    assert not lines(client.why("pools", "default", "hello"), "What holds now")


def test_a_task_waits_with_its_pool(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    decided(world, POOL, COOLING)
    task = world.queue.add("t", TaskPhase.QUEUED)
    items = task.status.items.replace(queued=1)
    world.queue.kept[task.key] = task.replace(status=task.status.replace(items=items))

    said = [line["sentence"] for line in lines(client.why("tasks", "default", "t"), "Why the rest waits")]

    assert said[0].startswith("no node is ready: pool hello wants 2 nodes")
    assert said[-1] == "pool hello: all offerings were refused lately"


def test_a_task_of_no_pool_says_so(world: World, client: ObjectClient) -> None:
    task = world.queue.add("t", TaskPhase.QUEUED)
    items = task.status.items.replace(queued=1)
    world.queue.kept[task.key] = task.replace(status=task.status.replace(items=items))

    [line] = lines(client.why("tasks", "default", "t"), "Why the rest waits")
    assert line["sentence"] == "there is no pool hello: nothing will run it"


def test_a_task_waits_for_busy_or_cordoned_nodes(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    busy = world.put(make_node(POOL, 0, conditions=ready_conditions()))
    task = world.queue.add("t", TaskPhase.QUEUED)
    items = task.status.items.replace(queued=1)
    world.queue.kept[task.key] = task.replace(status=task.status.replace(items=items))

    def said() -> list[str]:
        return [line["sentence"] for line in lines(client.why("tasks", "default", "t"), "Why the rest waits")]

    assert said() == ["1 node can take it: it is next to be handed out"]
    world.queue.holding[busy.metadata.uid] = 2
    assert said()[1] == f"node {busy.metadata.name} holds 2 attempts"
    world.put(busy.replace(spec=busy.spec.replace(unschedulable=True)))
    assert said()[0].startswith("none of its nodes takes new work")


def test_a_lost_attempt_leads_to_its_node(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    decided(world, NODE, WENT, NOW, NOW)
    failure = TaskFailure(
        item=0, attempt=2, node=NODE.metadata.name, outcome="NodeLost", message="its node is gone", at=to_time(NOW)
    )
    task = world.queue.add("t")
    world.queue.kept[task.key] = task.replace(status=task.status.replace(failures=(failure,)))

    attempt, node = lines(client.why("tasks", "default", "t"), "Attempts that did not succeed")

    name = NODE.metadata.name
    assert attempt["sentence"] == f"attempt 2 on node {name} ended as NodeLost: its node is gone"
    assert node["sentence"] == f"node {name} left: its provider took the instance away"
    assert node["about"] == f"node/{name}"


@pytest.mark.parametrize("kind", [Pool, Node, Task])
def test_nothing_is_known_of_what_never_was(kind: type[Pool], client: ObjectClient) -> None:
    with pytest.raises(NotFound, match=f'{kind.PLURAL}.skyward.dev "none" not found'):
        client.why(kind.PLURAL, "default", "none")


def test_deleting_a_node_is_a_decision_of_its_user(world: World, client: ObjectClient) -> None:
    world.put(POOL)
    node = world.put(NODE)
    client.delete("nodes", "default", node.metadata.name)

    [line] = lines(client.why("nodes", "default", node.metadata.name), "What happened to it")
    assert line["sentence"] == "Deletion asked for by admin."
    assert line["rule"] == "user"


def test_discovery_names_it_for_kubectl(http: httpx.Client) -> None:
    found = http.get("/apis/skyward.dev/v1alpha1").json()["resources"]
    names = {entry["name"]: entry["verbs"] for entry in found if entry["name"].endswith("/why")}

    assert names == {"pools/why": ["get"], "nodes/why": ["get"], "tasks/why": ["get"]}
