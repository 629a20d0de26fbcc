"""`skyctl rollout`, with kubectl's words, flags and exit statuses, against a real API server."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from skyward.api import Pool, PoolCondition, Reason, Status, set_condition, template_hash, to_time
from skyward.api.meta import RESTARTED
from tests.apiserver.standins import NOW, World
from tests.apiserver.test_revisions import put_history
from tests.builders import make_node, make_pool
from tests.skyctl.conftest import Skyctl


def with_status(pool: Pool, *conditions: tuple[str, Status, Reason, str], **numbers: int) -> Pool:
    found = pool.status.conditions
    for type_, status, reason, message in conditions:
        found = set_condition(found, type_, status, reason, message, now=to_time(NOW))
    numbers.setdefault("observed_generation", pool.metadata.generation)
    return pool.replace(status=pool.status.replace(conditions=found, **numbers))


DONE: dict[str, Any] = {"nodes": 2, "ready": 2, "available": 2, "up_to_date": 2}


# --- status ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ({"observed_generation": 0}, "Waiting for pool spec update to be observed..."),
        ({**DONE, "up_to_date": 1}, "1 out of 2 new nodes have been updated... (the budget is used up)"),
        ({**DONE, "nodes": 3}, "1 old nodes are pending termination..."),
        ({**DONE, "available": 1}, "1 of 2 updated nodes are available..."),
        (DONE, 'pool "hello" successfully rolled out'),
    ],
    ids=["unseen", "old", "leaving", "young", "done"],
)
def test_status_says_in_one_line_how_far_it_is(
    world: World, skyctl: Skyctl, numbers: dict[str, int], line: str
) -> None:
    rolling = (PoolCondition.ROLLING_OUT, Status.TRUE, Reason.TEMPLATE_CHANGED, "1 of 2; the budget is used up")
    world.put(with_status(make_pool(), rolling, **numbers))

    done = skyctl("rollout", "status", "hello", "--watch=false")

    assert (done.status, len(done.out.splitlines())) == (0, 1)
    assert line in done.out


def test_status_follows_until_it_is_done(world: World, skyctl: Skyctl) -> None:
    pool = world.put(with_status(make_pool(), nodes=2, up_to_date=1))
    timer = threading.Timer(0.3, lambda: world.put(with_status(pool, **DONE)))
    timer.start()

    done = skyctl("rollout", "status", "pool/hello", "--timeout=20s")

    timer.join()
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["Waiting", "pool"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            (PoolCondition.STALLED, Status.TRUE, Reason.TEMPLATE_FAILING, "no such package"),
            "is stalled: no such package",
        ),
        ((PoolCondition.ROLLING_OUT, Status.FALSE, Reason.ON_DELETE, "waits for you"), "not rolled out by itself"),
    ],
    ids=["stalled", "on-delete"],
)
def test_status_ends_with_1_when_it_cannot_go_on(
    world: World, skyctl: Skyctl, told: tuple[str, Status, Reason, str], message: str
) -> None:
    world.put(with_status(make_pool(), told, nodes=2, up_to_date=1))

    done = skyctl("rollout", "status", "hello")

    assert (done.status, done.out) == (1, "")
    assert message in done.err


def test_status_that_takes_too_long_ends_with_1(world: World, skyctl: Skyctl) -> None:
    world.put(with_status(make_pool(), nodes=2, up_to_date=1))

    done = skyctl("rollout", "status", "hello", "--timeout=1s")

    assert done.status == 1
    assert "timed out waiting for pool.skyward.dev/hello: not rolled out yet" in done.err


def test_status_sees_a_restart_before_the_operator_did(world: World, skyctl: Skyctl) -> None:
    pool = make_pool(annotations={RESTARTED: to_time(NOW).isoformat()})
    world.put(with_status(pool, **DONE))
    world.put(make_node(pool, 0, created_at=NOW - 60))
    world.put(make_node(pool, 1, created_at=NOW + 5))

    assert "1 old nodes are pending termination" in skyctl("rollout", "status", "hello", "--watch=false").out


# --- history and undo --------------------------------------------------------------------------------------------------


def test_history_lists_revisions_and_shows_one(world: World, skyctl: Skyctl) -> None:
    put_history(world, "1", "2")

    listed = skyctl("rollout", "history", "pool/hello").out.splitlines()
    shown = skyctl("rollout", "history", "hello", "--revision=1").out

    assert listed[:2] == ["pool.skyward.dev/hello", "REVISION   AGE   CHANGE-CAUSE"]
    assert [line.split()[0] for line in listed[2:]] == ["1", "2"]
    assert "VERSION: '1'" in shown
    assert json.loads(skyctl("rollout", "history", "hello", "-o", "json").out)["items"][1]["current"] is True


def test_undo_writes_the_template_before_and_leaves_all_else(world: World, skyctl: Skyctl) -> None:
    first = put_history(world, "1")
    put_history(world, "2")
    world.put(make_pool(nodes=7, image={"env": {"VERSION": "2"}}, env={"A": "1"}))

    done = skyctl("rollout", "undo", "pool/hello")

    assert (done.status, done.out) == (0, "pool.skyward.dev/hello rolled back\n")
    found = world.get(Pool, "default/hello")
    assert template_hash(found.spec) == template_hash(first.spec)
    assert (found.spec.nodes, found.spec.env) == (7, {"A": "1"})


def test_undo_goes_to_the_revision_that_is_named(world: World, skyctl: Skyctl) -> None:
    put_history(world, "1", "2", "3")

    dry = skyctl("rollout", "undo", "hello", "--to-revision=1", "--dry-run=server")
    same = skyctl("rollout", "undo", "hello", "--to-revision=3")
    assert world.get(Pool, "default/hello").spec.image.env == {"VERSION": "3"}
    done = skyctl("rollout", "undo", "hello", "--to-revision=1")

    assert (dry.status, dry.out) == (0, "pool.skyward.dev/hello rolled back (server dry run)\n")
    assert "skipped rollback (current template already matches revision 3)" in same.out
    assert done.status == 0
    assert world.get(Pool, "default/hello").spec.image.env == {"VERSION": "1"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["undo", "hello"], 'no rollout history found for pool "hello"'),
        (["undo", "hello", "--to-revision=9"], "unable to find specified revision 9 in history"),
        (["history", "hello", "--revision=9"], "unable to find specified revision 9 in history"),
        (["status", "hello", "--revision=9"], "desired revision (9) is different from the running revision (1)"),
        (["status", "other"], '"other" not found'),
        (["undo", "node/x"], "nodes have no roll-out"),
        (["status", "pool", "a", "b"], "say one pool"),
        (["resume", "hello"], "is not paused"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(world: World, skyctl: Skyctl, words: list[str], message: str) -> None:
    put_history(world, "1")

    done = skyctl("rollout", *words)

    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert message in done.err


# --- restart, pause, resume --------------------------------------------------------------------------------------------


def test_restart_annotates_with_a_time_after_the_newest_node(world: World, skyctl: Skyctl) -> None:
    """A node that an operator with a clock ahead of ours made just now is restarted as well."""
    pool = world.put(make_pool())
    world.put(make_node(pool, 0, created_at=4_000_000_000))

    done = skyctl("rollout", "restart", "pool/hello")

    assert (done.status, done.out) == (0, "pool.skyward.dev/hello restarted\n")
    assert world.get(Pool, "default/hello").metadata.annotations == {RESTARTED: "2096-10-02T07:06:41Z"}


def test_pause_and_resume_set_the_field_and_refuse_to_do_it_twice(world: World, skyctl: Skyctl) -> None:
    put_history(world, "1", "2")

    assert skyctl("rollout", "pause", "hello").out == "pool.skyward.dev/hello paused\n"
    assert world.get(Pool, "default/hello").spec.paused is True
    refused = [skyctl("rollout", verb, "hello") for verb in ("pause", "undo", "restart")]
    assert [done.status for done in refused] == [1, 1, 1]
    assert "already paused" in refused[0].err
    assert all("skyctl rollout resume hello" in done.err for done in refused[1:])
    assert skyctl("rollout", "resume", "pool", "hello").out == "pool.skyward.dev/hello resumed\n"
    assert world.get(Pool, "default/hello").spec.paused is False
