"""What a handle does through the objects of the operator, and how errors name what exists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skyward.errors import Invalid, NotFound, PoolNotFound, PoolNotReady
from skyward.sdk.session import Session
from tests.sdk.world import ThreadedWorld, threaded_world

MANIFEST = """
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {name: fresh}
spec: {nodes: 2, provider: local}
"""


class Objects:
    """The operator's pools; each `get` of a pool moves it one step on."""

    def __init__(self) -> None:
        self.pools: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        if name not in self.pools:
            raise NotFound(f"pools {name} not found")
        if self.steps.get(name):
            self.pools[name]["status"] = self.steps[name].pop(0)
        return self.pools[name]

    def list(self, plural: str, namespace: str | None = None) -> dict[str, Any]:
        return {"items": list(self.pools.values())}

    def create(self, plural: str, namespace: str, obj: dict[str, Any]) -> dict[str, Any]:
        obj["metadata"] |= {"resourceVersion": "1", "generation": 1}
        self.pools[obj["metadata"]["name"]] = obj
        return obj

    def replace(self, plural: str, namespace: str, name: str, obj: dict[str, Any]) -> dict[str, Any]:
        assert obj["metadata"]["resourceVersion"] == self.pools[name]["metadata"]["resourceVersion"]
        obj["metadata"] |= {"resourceVersion": "2", "generation": 2}
        self.pools[name] = obj
        return obj


class SessionWithObjects(Session):
    stored: Objects

    def _open_objects(self) -> Any:
        return self.stored


@pytest.fixture(scope="module")
def world() -> Iterator[ThreadedWorld]:
    with threaded_world() as world:
        yield world


@pytest.fixture
def session(world: ThreadedWorld) -> Iterator[SessionWithObjects]:
    with SessionWithObjects(world.world.config()) as session:
        session.stored = Objects()
        yield session


def status(ready: int, generation: int = 1, **conditions: tuple[str, str]) -> dict[str, Any]:
    return {
        "ready": ready,
        "observedGeneration": generation,
        "conditions": [{"type": t, "status": s, "message": m} for t, (s, m) in conditions.items()],
    }


def test_apply_creates_then_changes(session: SessionWithObjects, tmp_path: Path) -> None:
    path = tmp_path / "fresh.yaml"
    path.write_text(MANIFEST.replace("nodes: 2", "nodes: 3"))

    assert session.apply(MANIFEST).name == "fresh"
    session.apply(path)

    assert session.stored.pools["fresh"]["spec"]["nodes"] == 3


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (MANIFEST.replace("nodes: 2", "nodes: -1"), "<text>:5"),
        (MANIFEST + "---" + MANIFEST.replace("fresh", "other"), "declares 2 pools"),
        ("nowhere.yaml", "nowhere.yaml cannot be read"),
    ],
    ids=["bad field", "two pools", "no file"],
)
def test_a_bad_manifest_is_one_clear_line(session: SessionWithObjects, manifest: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        session.apply(manifest)


def test_wait_ready_waits_for_the_newest_generation(session: SessionWithObjects) -> None:
    pool = session.apply(MANIFEST)
    session.stored.pools["fresh"]["metadata"]["generation"] = 2
    session.stored.steps["fresh"] = [
        {},
        status(2, generation=1, Ready=("True", "")),
        status(1, generation=2, Ready=("False", "one is missing")),
        status(2, generation=2, Ready=("True", "")),
    ]

    assert pool.wait_ready(timeout=10) is pool
    assert session.stored.steps["fresh"] == []


def test_wait_ready_gives_up_with_what_is_missing(session: SessionWithObjects) -> None:
    pool = session.apply(MANIFEST)
    session.stored.steps["fresh"] = [status(1, Ready=("False", "one node boots"))]

    with pytest.raises(PoolNotReady, match=r"not ready after 0 s: 1 of 2 nodes are ready\. one node boots"):
        pool.wait_ready(timeout=0)


def test_wait_ready_does_not_wait_for_what_only_a_human_can_cure(session: SessionWithObjects) -> None:
    pool = session.apply(MANIFEST)
    session.stored.steps["fresh"] = [status(0, Stalled=("True", "the disk is full: free some space"))]

    with pytest.raises(PoolNotReady, match="the disk is full"):
        pool.wait_ready()


def test_an_unknown_pool_names_those_that_exist(session: SessionWithObjects) -> None:
    session.apply(MANIFEST)

    with pytest.raises(PoolNotFound, match="there are: fresh"):
        session.pool("nowhere").wait_ready()
    with pytest.raises(PoolNotFound, match="there are: fresh"):
        session.pool("nowhere").run(len, "x")
