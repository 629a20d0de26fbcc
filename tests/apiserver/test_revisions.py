"""The revisions subresource: a pool's templates over HTTP."""

from __future__ import annotations

import httpx
import pytest

from skyward.api import Pool
from skyward.client.objects import ObjectClient
from skyward.contracts import Transaction
from skyward.controllers.pool.revisions import record_revision
from skyward.errors import NotFound
from tests.apiserver.standins import NOW, World
from tests.builders import make_pool

GROUP = "/apis/skyward.dev/v1alpha1"


def put_history(world: World, *versions: str) -> Pool:
    """The pool with each of these templates in turn, all of them on record."""
    for number, version in enumerate(versions):
        pool: Pool = world.put(make_pool(image={"env": {"VERSION": version}}))

        def work(tx: Transaction, pool: Pool = pool, number: int = number) -> None:
            record_revision(tx, pool, NOW + number)

        world.do(world.store.run(work))
    return pool


def test_revisions_are_listed_with_their_templates_oldest_first(world: World, client: ObjectClient) -> None:
    put_history(world, "1", "2")

    listed = client.revisions("default", "hello")

    assert (listed["kind"], listed["apiVersion"]) == ("RevisionList", "skyward.dev/v1alpha1")
    assert [(one["number"], one["current"]) for one in listed["items"]] == [(1, False), (2, True)]
    assert listed["items"][0]["template"]["image"] == {"env": {"VERSION": "1"}}
    assert listed["items"][0]["createdAt"].endswith("Z")
    assert len({one["templateHash"] for one in listed["items"]}) == 2


def test_a_template_that_is_not_on_record_yet_has_no_current_revision(world: World, client: ObjectClient) -> None:
    put_history(world, "1")
    world.put(make_pool(image={"env": {"VERSION": "2"}}))

    assert [one["current"] for one in client.revisions("default", "hello")["items"]] == [False]


def test_revisions_of_no_pool_are_not_found(client: ObjectClient) -> None:
    with pytest.raises(NotFound, match="hello"):
        client.revisions("default", "hello")


def test_discovery_names_the_subresource_with_its_kind(world: World, http: httpx.Client) -> None:
    plain = http.get(GROUP).json()["resources"]
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    [group] = http.get("/apis", headers=accept).json()["items"]

    assert {"pools/revisions": "RevisionList"}.items() <= {one["name"]: one["kind"] for one in plain}.items()
    pools = next(one for one in group["versions"][0]["resources"] if one["resource"] == "pools")
    kinds = {one["subresource"]: one["responseKind"]["kind"] for one in pools["subresources"]}
    assert (kinds["revisions"], kinds["scale"], kinds["status"]) == ("RevisionList", "Scale", "Pool")
