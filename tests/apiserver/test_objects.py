"""Objects over HTTP: reading, writing, scaling, deleting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from skyward.api import Event, Node, Pool, Source, SourceSpec, Task, TaskPhase
from skyward.client.objects import ObjectClient
from skyward.errors import AlreadyExists, Conflict, Invalid, NotFound, UserError
from tests.apiserver.standins import World
from tests.builders import make_node, make_pool

HELLO: dict[str, Any] = {
    "apiVersion": "skyward.dev/v1alpha1",
    "kind": "Pool",
    "metadata": {"name": "hello"},
    "spec": {"nodes": 2, "provider": "local"},
}
COLLECTION = "/apis/skyward.dev/v1alpha1/namespaces/default/pools"
ITEM = f"{COLLECTION}/hello"
MERGE = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


def test_a_created_pool_goes_through_the_writer_and_reads_back(world: World, client: ObjectClient) -> None:
    created = client.create("pools", "default", HELLO)

    assert client.get("pools", "default", "hello") == created
    assert created["metadata"]["generation"] == 1
    assert [manifest.spec for manifest in world.writer.written] == [{"nodes": 2, "providers": [{"name": "local"}]}]


def test_a_second_create_of_the_same_name_is_refused(client: ObjectClient) -> None:
    client.create("pools", "default", HELLO)

    with pytest.raises(AlreadyExists, match="hello"):
        client.create("pools", "default", HELLO)


def test_an_invalid_spec_names_each_field(client: ObjectClient) -> None:
    with pytest.raises(Invalid) as caught:
        client.create("pools", "default", {**HELLO, "spec": {"nodes": -1, "provider": "local", "rollout": 3}})

    assert [field for field, _ in caught.value.causes] == ["spec.nodes", "spec.rollout"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Node"}, "kind: 'Node' does not match 'Pool'"),
        ({"apiVersion": "v1"}, "apiVersion: 'v1' does not match"),
        ({"metadata": {"name": "hello", "namespace": "other"}}, "metadata.namespace: 'other' does not match"),
        ({"metadata": {}}, "metadata.name"),
        ({"metadata": {"name": "No Name"}}, "'No Name' is not a name"),
        ({"metadata": {"name": "../../etc"}}, "is not a name"),
        ({"metadata": []}, "metadata: must be an object"),
        ({"spec": None}, "spec: must be an object"),
        ({"metadata": {"name": "hello", "labels": {"a": 1}}}, "metadata.labels.a: must be text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_body_that_does_not_fit_changes_nothing(
    world: World, client: ObjectClient, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        client.create("pools", "default", {**HELLO, **change})

    assert not world.store.log


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": 1, "a": 2}', b"[" * 100_000, b"", b"null"],
    ids=["open", "list", "bytes", "nan", "infinite", "twice", "deep", "empty", "null"],
)
def test_a_broken_body_is_a_bad_request(http: httpx.Client, body: bytes) -> None:
    answer = http.post(COLLECTION, content=body)

    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


def test_a_body_over_the_limit_is_refused(http: httpx.Client) -> None:
    answer = http.post(COLLECTION, content=b" " * (3 * 1024 * 1024 + 1))

    assert answer.json()["reason"] == "RequestEntityTooLarge"


def test_replace_needs_the_stored_version(client: ObjectClient) -> None:
    pool = client.create("pools", "default", HELLO)
    newer = client.replace("pools", "default", "hello", {**pool, "spec": {**pool["spec"], "nodes": 3}})

    with pytest.raises(Conflict, match="has been modified"):
        client.replace("pools", "default", "hello", {**pool, "spec": {**pool["spec"], "nodes": 4}})
    with pytest.raises(Invalid, match="must be specified for an update"):
        client.replace("pools", "default", "hello", HELLO)

    assert (newer["spec"]["nodes"], newer["metadata"]["generation"]) == (3, 2)
    assert client.get("pools", "default", "hello")["spec"]["nodes"] == 3


def test_a_write_that_changes_nothing_keeps_the_version(world: World, client: ObjectClient) -> None:
    pool = client.create("pools", "default", HELLO)

    again = client.patch("pools", "default", "hello", {"spec": {"nodes": 2, "provider": "local"}})

    assert again["metadata"]["resourceVersion"] == pool["metadata"]["resourceVersion"]
    assert len(world.writer.written) == 1


def test_a_merge_patch_removes_what_is_null(client: ObjectClient) -> None:
    client.create("pools", "default", {**HELLO, "metadata": {"name": "hello", "labels": {"a": "1", "b": "2"}}})

    pool = client.patch("pools", "default", "hello", {"metadata": {"labels": {"a": None}}, "status": {"ready": 9}})

    assert pool["metadata"]["labels"] == {"b": "2"}
    assert pool["status"]["ready"] == 0


def test_a_json_patch_is_applied_whole_or_not_at_all(client: ObjectClient, http: httpx.Client) -> None:
    client.create("pools", "default", HELLO)
    grow = {"op": "replace", "path": "/spec/nodes", "value": 7}

    refused = http.patch(ITEM, json=[grow, {"op": "test", "path": "/spec/paused", "value": True}], headers=JSON_PATCH)
    unchanged = client.get("pools", "default", "hello")["spec"]["nodes"]
    taken = http.patch(ITEM, json=[grow, {"op": "test", "path": "/spec/paused", "value": False}], headers=JSON_PATCH)

    assert (refused.status_code, unchanged) == (422, 2)
    assert taken.json()["spec"]["nodes"] == 7


@pytest.mark.parametrize("kind", ["strategic-merge-patch+json", "apply-patch+yaml"])
def test_other_patches_are_refused_with_what_is_accepted(client: ObjectClient, http: httpx.Client, kind: str) -> None:
    client.create("pools", "default", HELLO)

    answer = http.patch(ITEM, json={}, headers={"Content-Type": f"application/{kind}"})

    assert answer.status_code == 415
    assert "application/merge-patch+json" in answer.json()["message"]


def test_a_short_form_in_a_patch_replaces_the_long_one(world: World, client: ObjectClient) -> None:
    spec = {"nodes": 1, "providers": [{"name": "local", "weight": 5}]}
    client.create("pools", "default", {**HELLO, "spec": spec})

    pool = client.patch("pools", "default", "hello", {"spec": {"provider": "local"}})

    assert pool["spec"]["providers"][0]["weight"] == 0


def test_no_update_is_lost_among_many_writers(world: World, client: ObjectClient, tmp_path: Path) -> None:
    client.create("pools", "default", HELLO)

    def label(number: int) -> None:
        with ObjectClient(world.config(tmp_path / "config")) as own:
            own.patch("pools", "default", "hello", {"metadata": {"labels": {f"l{number}": "x"}}})

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(label, range(12)))

    assert len(client.get("pools", "default", "hello")["metadata"]["labels"]) == 12


def test_a_dry_run_answers_and_stores_nothing(world: World, client: ObjectClient) -> None:
    created = client.create("pools", "default", HELLO, dry_run=True)
    assert created["spec"]["nodes"] == 2
    with pytest.raises(NotFound):
        client.get("pools", "default", "hello")
    client.create("pools", "default", HELLO)

    scaled = client.scale("default", "hello", 9, dry_run=True)
    deleted = client.delete("pools", "default", "hello", dry_run=True)

    assert scaled["spec"]["replicas"] == 9
    assert "deletionTimestamp" in deleted["metadata"]
    stored = world.get(Pool, "default/hello")
    assert (stored.spec.nodes, stored.metadata.deletion_timestamp) == (2, None)


def test_scale_is_spec_nodes(client: ObjectClient, http: httpx.Client) -> None:
    client.create("pools", "default", HELLO)

    scaled = client.scale("default", "hello", 5)

    assert (scaled["kind"], scaled["spec"], scaled["status"]["replicas"]) == ("Scale", {"replicas": 5}, 0)
    assert client.get("pools", "default", "hello")["spec"]["nodes"] == 5
    assert http.get(f"{ITEM}/scale").json()["spec"]["replicas"] == 5
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
    assert http.put(f"{ITEM}/scale", json=stale).status_code == 409
    assert http.patch(f"{ITEM}/scale", json={"spec": {"replicas": "x"}}, headers=MERGE).status_code == 422


def test_status_can_be_read_and_not_written(client: ObjectClient, http: httpx.Client) -> None:
    client.create("pools", "default", HELLO)

    assert http.get(f"{ITEM}/status").json()["kind"] == "Pool"
    for method in ("PUT", "PATCH"):
        answer = http.request(method, f"{ITEM}/status", json={})
        assert (answer.status_code, answer.json()["reason"]) == (405, "MethodNotAllowed")


def test_a_deleted_pool_carries_its_deletion_time_and_takes_no_more_changes(client: ObjectClient) -> None:
    pool = client.create("pools", "default", HELLO)
    with pytest.raises(Conflict, match="another one"):
        client.delete("pools", "default", "hello", uid="somebody-else")

    gone = client.delete("pools", "default", "hello", uid=pool["metadata"]["uid"])

    assert gone["metadata"]["deletionTimestamp"]
    with pytest.raises(Conflict, match="being deleted"):
        client.scale("default", "hello", 9)


def test_users_may_cordon_label_and_annotate_a_node_and_nothing_else(world: World, client: ObjectClient) -> None:
    node = world.put(make_node(make_pool()))
    name = node.metadata.name

    cordoned = client.patch(
        "nodes", "default", name, {"spec": {"unschedulable": True}, "metadata": {"annotations": {"why": "test"}}}
    )

    assert (cordoned["spec"]["unschedulable"], cordoned["metadata"]["generation"]) == (True, 2)
    assert cordoned["metadata"]["annotations"] == {"why": "test"}
    refused: list[dict[str, Any]] = [
        {"spec": {"slot": 7}},
        {"spec": {"other": 1}},
        {"spec": {"unschedulable": "yes"}},
        {"metadata": {"labels": {"skyward.dev/pool": "other"}}},
    ]
    for patch in refused:
        with pytest.raises(Invalid):
            client.patch("nodes", "default", name, patch)
    events = client.list("events", field_selector=f"regarding.name={name}")["items"]
    assert [event["reason"] for event in events] == ["Cordoned"]


def test_a_deleted_node_is_marked_for_its_controller(world: World, client: ObjectClient) -> None:
    node = world.put(make_node(make_pool()))

    client.delete("nodes", "default", node.metadata.name)
    client.delete("nodes", "default", node.metadata.name)

    stored = world.get(Node, node.key)
    assert stored.metadata.deletion_timestamp is not None
    assert stored.status.retire_reason == "DeleteRequested"
    assert [event.object.count for event in world.store.log if isinstance(event.object, Event)] == [1]


def test_deleting_a_task_cancels_it(world: World, client: ObjectClient) -> None:
    world.queue.add("square-abcde")

    status = client.delete("tasks", "default", "square-abcde")

    assert (status["status"], status["details"]["uid"]) == ("Success", "task-square-abcde")
    assert client.get("tasks", "default", "square-abcde")["status"]["phase"] == TaskPhase.CANCELLED


def test_events_are_read_only_and_sources_are_not_deleted(
    world: World, client: ObjectClient, http: httpx.Client
) -> None:
    pool = make_pool()
    world.put(Source(metadata=pool.metadata.replace(name="manifests"), spec=SourceSpec(path="/m")))

    assert client.get("sources", "default", "manifests")["spec"]["path"] == "/m"
    for plural, methods in (("sources", ("POST", "DELETE")), ("events", ("PUT", "PATCH", "DELETE"))):
        path = f"/apis/skyward.dev/v1alpha1/namespaces/default/{plural}/manifests"
        for method in methods:
            assert http.request(method, path, json={}).status_code == 405


def test_lists_are_filtered_by_labels_and_fields(world: World, client: ObjectClient) -> None:
    for name, labels in (("a", {"team": "x"}), ("b", {"team": "y", "gpu": ""}), ("c", {})):
        pool = make_pool(name)
        world.put(pool.replace(metadata=pool.metadata.replace(labels=labels)))

    def names(labels: str = "", fields: str = "") -> str:
        items = client.list("pools", "default", labels or None, fields or None)["items"]
        return "".join(item["metadata"]["name"] for item in items)

    assert names("team=x") == "a"
    assert names("team==y,gpu") == "b"
    assert names("team!=x") == "bc"
    assert names("team in (x, y)") == "ab"
    assert names("team notin (x)") == "bc"
    assert names("!team") == "c"
    assert names("team,!gpu") == "a"
    assert names(fields="metadata.name=b") == "b"
    assert names(fields="metadata.name!=b") == "ac"
    for bad in ("team in x", "=x", "team in (x", "a=b=c"):
        with pytest.raises(UserError, match="label selector"):
            names(bad)
    with pytest.raises(UserError, match=r"field label not supported: spec\.nodes"):
        names(fields="spec.nodes=1")


def test_a_namespaced_list_shows_its_own_and_the_whole_list_all(world: World, client: ObjectClient) -> None:
    world.put(make_pool("a"))
    world.put(make_pool("b", namespace="team"))

    assert [item["metadata"]["name"] for item in client.list("pools", "team")["items"]] == ["b"]
    assert len(client.list("pools")["items"]) == 2
    assert isinstance(world.get(Pool, "team/b"), Pool)


def test_namespaces_are_those_in_use(world: World, http: httpx.Client) -> None:
    world.put(make_pool("b", namespace="team"))

    items = http.get("/api/v1/namespaces").json()["items"]

    assert [item["metadata"]["name"] for item in items] == ["default", "team"]
    assert http.get("/api/v1/namespaces/none").status_code == 404


def test_tables_have_the_columns_that_are_promised(world: World, client: ObjectClient) -> None:
    pool = make_pool()
    world.put(pool)
    world.put(make_node(pool))
    world.queue.add("square-abcde")

    def header(plural: str, wide: bool) -> str:
        table = client.table(plural)
        return " ".join(
            column["name"].upper() for column in table["columnDefinitions"] if wide or not column["priority"]
        )

    assert header("pools", wide=False) == "NAME NODES READY PROVIDER ACCELERATOR $/H STATUS AGE"
    assert header("pools", wide=True).endswith("AGE REGION UP-TO-DATE QUEUED RUNNING COST REVISION")
    assert header("nodes", wide=False) == "NAME POOL STATUS PROVIDER TYPE REGION $/H TASKS AGE"
    assert header("tasks", wide=False) == "NAME POOL MODE STATUS DONE/ALL NODE AGE"
    row = client.table("pools")["rows"][0]
    assert row["cells"][:3] == ["hello", 2, 0]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert isinstance(client.get("tasks", "default", "square-abcde")["metadata"]["resourceVersion"], str)
    assert Task.PLURAL == "tasks"


def test_metadata_alone_can_be_asked_for(world: World, http: httpx.Client) -> None:
    world.put(make_pool())
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}

    body = http.get(COLLECTION, headers=accept).json()

    assert body["kind"] == "PartialObjectMetadataList"
    assert "spec" not in body["items"][0]
    assert http.get(COLLECTION, headers={"Accept": "text/html"}).status_code == 406
