"""What skyctl shows of a task's items: rows, attempts, evidence; and patch."""

from __future__ import annotations

import json

import pytest

from skyward.api import ItemCounts, Task, TaskAttempt, TaskFailure, TaskItem, TaskPhase, to_time
from tests.apiserver.standins import NOW, World
from tests.builders import make_pool
from tests.skyctl.conftest import Skyctl

DIED = TaskAttempt(
    item=1,
    attempt=2,
    node="hello-0-a",
    outcome="ChildDied",
    message="its process ended with status 7",
    at=to_time(NOW),
    seconds=1.5,
    type="ChildDied",
    traceback="Traceback\n  line 1",
    evidence={"signal": "", "output": "last\nwords"},
)
ITEMS = (
    TaskItem(index=0, phase=TaskPhase.SUCCEEDED, outcome="Succeeded", node="hello-0-a", attempt=1, seconds=0.25),
    TaskItem(
        index=1,
        phase=TaskPhase.FAILED,
        outcome="DeadLetter",
        node="hello-0-a",
        attempt=2,
        message="given up after 2 attempts",
        attempts=(DIED,),
    ),
)


@pytest.fixture
def task(world: World) -> Task:
    task = world.queue.add("t", TaskPhase.FAILED)
    failure = TaskFailure(**{name: getattr(DIED, name) for name in TaskFailure.model_fields})
    status = task.status.replace(items=ItemCounts(succeeded=1, failed=1), failures=(failure,))
    world.queue.kept[task.key] = task.replace(status=status, spec=task.spec.replace(mode="map", max_attempts=2))
    world.queue.parts[task.key] = ITEMS
    return task


@pytest.mark.usefixtures("task")
def test_get_items_shows_a_row_for_each(skyctl: Skyctl) -> None:
    done = skyctl("get", "items", "t")

    assert done.status == 0
    assert [line.split()[:5] for line in done.out.splitlines()] == [
        ["INDEX", "STATUS", "NODE", "ATTEMPT", "SECONDS"],
        ["0", "Succeeded", "hello-0-a", "1", "0.25"],
        ["1", "DeadLetter", "hello-0-a", "2", "0.00"],
    ]


@pytest.mark.usefixtures("task")
def test_wide_shows_each_attempt_with_its_evidence_and_json_everything(skyctl: Skyctl) -> None:
    wide = skyctl("get", "items", "task/t", "-o", "wide", "--no-headers")
    whole = json.loads(skyctl("get", "items", "t", "-o", "json").out)

    assert wide.out.split()[:4] == ["1", "2", "hello-0-a", "ChildDied"]
    assert "output=last words" in wide.out
    assert [item["index"] for item in whole["items"]] == [0, 1]


@pytest.mark.usefixtures("task")
def test_describe_tells_what_a_dead_letter_left_behind(skyctl: Skyctl) -> None:
    page = skyctl("describe", "task", "t").out

    ending = "Item 1, DeadLetter:\n  message: given up after 2 attempts\n"
    assert f"{ending}  output:\n    last\n    words\n  traceback:\n    Traceback\n      line 1\n" in page
    assert "  signal" not in page


@pytest.mark.usefixtures("task")
def test_why_tells_what_was_asked_for_and_what_became_of_it(skyctl: Skyctl) -> None:
    page = skyctl("why", "task", "t").out

    assert "each item is tried at most 2 times in all" in page
    assert "item 1 was given up as a dead letter: given up after 2 attempts" in page
    assert "attempt 2 left: output last words" in page


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("get", "items"), "say of which task: get items TASK"),
        (("get", "items", "nobody"), 'tasks.skyward.dev "nobody" not found'),
        (("get", "items", "t", "-w"), "items belong to one task: leave -w, -A and -l out"),
        (("get", "items", "t", "-o", "name"), "items have no names: leave -o name out"),
        (("patch", "pool", "hello", "-p", "queue: held"), "--patch is not JSON"),
        (("patch", "pool", "hello", "-p", "3"), "--patch is an object"),
        (("patch", "task", "t", "-p", "{}"), "tasks cannot be patched"),
        (("patch", "pool", "hello", "--type", "json", "-p", "[]"), "--type json: there is merge"),
    ],
)
@pytest.mark.usefixtures("task")
def test_a_mistake_is_one_line(skyctl: Skyctl, words: tuple[str, ...], line: str) -> None:
    done = skyctl(*words)

    assert done.status == 1
    assert line in done.err
    assert len(done.err.splitlines()) == 1


def test_patch_sets_fields(world: World, skyctl: Skyctl) -> None:
    world.put(make_pool("hello"))

    done = skyctl("patch", "pool", "hello", "-p", '{"spec":{"queue":"held"}}')

    assert (done.status, done.out) == (0, "pool.skyward.dev/hello patched\n"), done.err
    assert json.loads(skyctl("get", "pool", "hello", "-o", "json").out)["spec"]["queue"] == "held"
