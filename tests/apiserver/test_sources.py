"""Approving over HTTP: an annotation of the Source, taken only when it names what waits."""

from __future__ import annotations

import pytest

from skyward.api import Held, Json, ObjectMeta, Source, SourceSpec, SourceStatus
from skyward.api.meta import APPROVED, READ_DESPITE
from skyward.client.objects import ObjectClient
from skyward.errors import Invalid
from tests.apiserver.standins import World

HASH = "1a2b3c4d5e6f"


@pytest.fixture(autouse=True)
def waiting(world: World) -> Source:
    held = Held(hash=HASH, pools=2, nodes=5, changes=("default/a: removed", "default/b: removed"))
    meta = ObjectMeta(name="manifests", uid="source-1", annotations={"mine": "1"})
    status = SourceStatus(held=held, unfinished="index.lock")
    source = Source(metadata=meta, spec=SourceSpec(path="/m"), status=status)
    world.put(source)
    return source


def _annotate(client: ObjectClient, **annotations: str | None) -> Json:
    patch: Json = {"metadata": {"annotations": annotations}}
    return client.patch("sources", "default", "manifests", patch)


@pytest.mark.parametrize(("name", "value"), [(APPROVED, HASH), (READ_DESPITE, "index.lock")])
def test_what_waits_is_approved_by_its_name(world: World, client: ObjectClient, name: str, value: str) -> None:
    answer = _annotate(client, **{name: value})

    assert answer["metadata"]["annotations"] == {"mine": "1", name: value}
    assert world.get(Source, "default/manifests").metadata.annotations[name] == value


@pytest.mark.parametrize(
    ("name", "value", "current"),
    [(APPROVED, "ffffffffffff", HASH), (APPROVED, "index.lock", HASH), (READ_DESPITE, "MERGE_HEAD", "index.lock")],
)
def test_anything_else_is_refused_with_what_waits(
    world: World, client: ObjectClient, name: str, value: str, current: str
) -> None:
    with pytest.raises(Invalid, match=f"'{value}' is not what waits: what waits now is {current}"):
        _annotate(client, **{name: value})

    assert world.get(Source, "default/manifests").metadata.annotations == {"mine": "1"}


def test_nothing_can_be_approved_when_nothing_waits(world: World, client: ObjectClient, waiting: Source) -> None:
    world.put(waiting.replace(status=SourceStatus()))

    with pytest.raises(Invalid, match="nothing of that kind waits now"):
        _annotate(client, **{APPROVED: HASH})


def test_an_approval_can_be_taken_back(world: World, client: ObjectClient) -> None:
    _annotate(client, **{APPROVED: HASH})
    _annotate(client, **{APPROVED: None, "mine": None, "yours": "2"})

    assert world.get(Source, "default/manifests").metadata.annotations == {"yours": "2"}


def test_the_rest_of_a_source_is_the_operators(world: World, client: ObjectClient, waiting: Source) -> None:
    with pytest.raises(Invalid, match="spec: is set by the operator"):
        client.patch("sources", "default", "manifests", {"spec": {"path": "/other"}})

    client.patch("sources", "default", "manifests", {"status": {"held": None}})
    assert world.get(Source, "default/manifests").status == waiting.status
