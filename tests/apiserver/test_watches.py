"""Watches: no gap, no repeat, and an honest end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import httpx
import pytest

from skyward.api import Pool, TaskPhase
from skyward.client.objects import ObjectClient
from skyward.errors import HistoryExpired
from tests.apiserver.standins import World
from tests.builders import make_pool

POOLS = "/apis/skyward.dev/v1alpha1/namespaces/default/pools"


def take(events: Iterator[tuple[str, dict[str, Any]]], count: int) -> list[tuple[str, str]]:
    return [(type_, obj["metadata"]["name"]) for type_, obj in islice(events, count)]


def lines(http: httpx.Client, **params: str) -> list[dict[str, Any]]:
    answer = http.get(POOLS, params={"watch": "true", "timeoutSeconds": "1", **params})
    return [json.loads(line) for line in answer.text.splitlines()]


def labelled(pool: Pool, **labels: str) -> Pool:
    return pool.replace(metadata=pool.metadata.replace(labels=labels))


def test_a_watch_without_a_version_begins_with_what_exists(world: World, client: ObjectClient) -> None:
    world.put(make_pool("a"))
    watch = client.watch("pools", "default")

    first = take(watch, 1)
    world.put(make_pool("b"))
    world.put(labelled(make_pool("a"), x="1"))
    world.drop(world.get(Pool, "default/b"))

    assert first == [("ADDED", "a")]
    assert take(watch, 3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


def test_reconnecting_from_the_last_version_shows_each_change_once(world: World, client: ObjectClient) -> None:
    world.put(make_pool("first"))
    version = client.list("pools", "default")["metadata"]["resourceVersion"]
    for number in range(40):
        world.put(labelled(make_pool("a"), n=str(number)))

    seen = []
    while len(seen) < 40:
        for _, obj in islice(client.watch("pools", "default", resource_version=version), 3):
            seen.append(int(obj["metadata"]["labels"]["n"]))
            version = obj["metadata"]["resourceVersion"]
            if len(seen) == 40:
                break

    assert seen == list(range(40))


def test_changes_made_while_a_watch_begins_are_neither_lost_nor_repeated(world: World, client: ObjectClient) -> None:
    world.put(make_pool("first"))
    version = client.list("pools", "default")["metadata"]["resourceVersion"]
    writer = threading.Thread(target=lambda: [world.put(labelled(make_pool("a"), n=str(n))) for n in range(300)])
    writer.start()

    events = islice(client.watch("pools", "default", resource_version=version), 300)
    seen = [int(obj["metadata"]["labels"]["n"]) for _, obj in events]

    writer.join()
    assert seen == list(range(300))


def test_an_object_that_stops_matching_is_deleted_and_one_that_starts_is_added(
    world: World, client: ObjectClient
) -> None:
    world.put(labelled(make_pool("a"), team="x"))
    world.put(labelled(make_pool("b"), team="y"))
    watch = client.watch("pools", "default", label_selector="team=x")
    assert take(watch, 1) == [("ADDED", "a")]

    world.put(labelled(make_pool("b"), team="z"))
    world.put(labelled(make_pool("a"), team="y"))
    world.put(labelled(make_pool("b"), team="x"))
    world.put(labelled(make_pool("b"), team="x", more="1"))
    world.put(labelled(make_pool("c", namespace="other"), team="x"))
    world.drop(world.get(Pool, "default/b"))

    assert take(watch, 4) == [("DELETED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


def test_a_watch_of_one_name_shows_no_other(world: World, client: ObjectClient) -> None:
    world.put(make_pool("a"))
    watch = client.watch("pools", "default", name="a")
    first = take(watch, 1)

    for name in ("b", "a"):
        world.put(make_pool(name))
        world.put(labelled(make_pool(name), x="1"))

    assert first + take(watch, 1) == [("ADDED", "a"), ("MODIFIED", "a")]


def test_a_version_older_than_history_is_expired(world: World, client: ObjectClient) -> None:
    world.put(make_pool("a"))
    world.put(make_pool("b"))
    world.store.expire()

    with pytest.raises(HistoryExpired, match="list again"):
        take(client.watch("pools", "default", resource_version="1"), 1)


def test_a_version_never_given_out_is_expired(world: World, client: ObjectClient) -> None:
    world.put(make_pool("a"))

    with pytest.raises(HistoryExpired, match="never given out"):
        take(client.watch("pools", "default", resource_version="999"), 1)


def test_the_initial_list_of_a_watch_ends_with_its_bookmark(world: World, http: httpx.Client) -> None:
    world.put(make_pool("a"))
    asked = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}

    events = lines(http, **asked)

    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert events[1]["object"]["metadata"]["resourceVersion"] == "1"


def test_a_watch_ends_when_its_time_is_up_and_without_bookmarks_says_nothing(http: httpx.Client) -> None:
    assert lines(http) == []
    assert lines(http, watch="True", timeoutSeconds="1") == []


def test_a_watched_table_names_its_columns_once(world: World, client: ObjectClient) -> None:
    world.put(make_pool("a"))
    world.put(make_pool("b"))

    first, second = (obj for _, obj in islice(client.watch("pools", "default", as_table=True), 2))

    assert first["columnDefinitions"][0]["name"] == "Name"
    assert (second["columnDefinitions"], second["rows"][0]["cells"][0]) == ([], "b")


def test_a_bad_number_is_a_bad_request(http: httpx.Client) -> None:
    for name in ("resourceVersion", "timeoutSeconds"):
        answer = http.get(POOLS, params={"watch": "1", name: "x"})
        assert answer.json()["reason"] == "BadRequest"


@pytest.mark.slow
def test_tasks_are_watched_by_comparison(world: World, client: ObjectClient) -> None:
    world.queue.add("old", TaskPhase.SUCCEEDED)
    version = client.list("tasks", "default")["metadata"]["resourceVersion"]
    world.queue.add("new", TaskPhase.QUEUED)

    watch = client.watch("tasks", "default", resource_version=version)
    first = take(watch, 1)
    world.queue.add("new", TaskPhase.RUNNING)
    second = take(watch, 1)
    world.queue.kept.pop("default/old")

    assert (first, second, take(watch, 1)) == ([("ADDED", "new")], [("MODIFIED", "new")], [("DELETED", "old")])


@pytest.mark.slow
def test_a_client_that_went_away_is_forgotten(world: World, client: ObjectClient) -> None:
    watch = client.watch("pools", "default", resource_version="0")
    world.put(make_pool("a"))
    take(watch, 1)
    _wait_for_followers(world, 1)  # what exists is sent first; only then the server begins to follow

    watch.close()  # type: ignore[attr-defined]

    _wait_for_followers(world, 0)


def _wait_for_followers(world: World, number: int) -> None:
    waited = threading.Event()
    for _ in range(100):
        if world.store.followers == number:
            return
        waited.wait(0.1)
    raise AssertionError(f"{world.store.followers} follow the store, not {number}")
