"""skyctl approve."""

from __future__ import annotations

import pytest

from skyward.api import Held, ObjectMeta, Source, SourceSpec, SourceStatus
from skyward.api.meta import APPROVED, READ_DESPITE
from tests.apiserver.standins import World
from tests.skyctl.conftest import Skyctl

HASH = "1a2b3c4d5e6f"


@pytest.fixture
def waiting(world: World) -> None:
    held = Held(hash=HASH, pools=2, nodes=5, changes=("default/a: removed", "default/b: removed"))
    source = Source(metadata=ObjectMeta(name="manifests", uid="source-1"), spec=SourceSpec(path="/m"))
    world.put(source.replace(status=SourceStatus(held=held, unfinished="index.lock")))


def _annotations(world: World) -> dict[str, str]:
    found: Source = world.get(Source, "default/manifests")
    return found.metadata.annotations


@pytest.mark.usefixtures("waiting")
def test_approve_names_what_goes_on(world: World, skyctl: Skyctl) -> None:
    dry = skyctl("approve", HASH, "--dry-run=server")
    assert (dry.status, _annotations(world)) == (0, {})

    done = skyctl("approve", HASH)

    assert done.status == 0
    assert done.out == "source.skyward.dev/manifests approved\n  default/a: removed\n  default/b: removed\n"
    assert _annotations(world) == {APPROVED: HASH}


@pytest.mark.usefixtures("waiting")
def test_approve_of_a_git_sign_overlooks_it(world: World, skyctl: Skyctl) -> None:
    assert skyctl("approve", "index.lock").out == "source.skyward.dev/manifests approved\n"
    assert _annotations(world) == {READ_DESPITE: "index.lock"}


@pytest.mark.usefixtures("waiting")
def test_approve_of_something_else_says_what_waits(world: World, skyctl: Skyctl) -> None:
    done = skyctl("approve", "ffffffffffff")

    assert (done.status, done.out) == (1, "")
    assert done.err == f"error: 'ffffffffffff' does not wait for an approval; what does: {HASH}, index.lock\n"
    assert _annotations(world) == {}


def test_approve_when_nothing_waits_is_one_line(world: World, skyctl: Skyctl) -> None:
    done = skyctl("approve", HASH)

    assert (done.status, done.err) == (1, f"error: '{HASH}' does not wait for an approval, and nothing else does\n")
