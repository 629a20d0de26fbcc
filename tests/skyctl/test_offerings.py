"""`skyctl offerings` against a real API server: what there is, what fits, how old that is, and what cools down."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from skyward.api import Reason
from skyward.api.providers import plug_in
from skyward.facts import SPOT, Offering, Supply, identify
from tests.apiserver.standins import Shelf, World
from tests.builders import make_pool
from tests.skyctl.conftest import Skyctl

plug_in("shop-a")
plug_in("shop-b")
H100 = identify("H100 SXM", 8, 80)
SPOTTY = Offering(
    "shop-a", "p5.48xlarge", "us-east-1", "us-east-1a", SPOT, 20.0, accelerator=H100, vcpus=192, memory_gb=2048
)
STEADY = Offering("shop-a", "p5.48xlarge", "us-east-1", "us-east-1a", usd_per_hour=55.04, accelerator=H100)
STRANGE = Offering("shop-b", "box", accelerator=identify("Gaudi HL-205", 8, 32), usd_per_hour=9, supply=Supply.NONE)
MANIFEST = """\
apiVersion: skyward.dev/v1alpha1
kind: Pool
metadata: {name: train}
spec:
  nodes: 2
  providers: [{name: shop-a, region: us-east-1}, {name: shop-b}]
  accelerator: H100:8
  allocation: spot-if-available
"""


@pytest.fixture
def shops(world: World) -> World:
    world.shelves["shop-a"] = Shelf((SPOTTY, STEADY))
    world.shelves["shop-b"] = Shelf((STRANGE,))
    return world


def test_everything_is_listed_with_what_nobody_knows(shops: World, skyctl: Skyctl) -> None:
    done = skyctl("offerings")

    lines = done.out.splitlines()
    assert done.status == 0
    assert lines[0].split()[:5] == ["PROVIDER", "TYPE", "REGION", "CAPACITY", "ACCELERATOR"]
    assert lines[1].startswith("shop-b")
    assert "GAUDIHL205-32GB:8 (unknown)" in lines[1]
    assert "none" in lines[1]
    assert lines[2].split() == [
        "shop-a",
        "p5.48xlarge",
        "us-east-1",
        "spot",
        "H100-80GB:8",
        "192",
        "2048GB",
        "20",
        "unknown",
        "0s",
        "-",
    ]


def test_of_a_manifest_what_fits_is_shown_the_first_choice_first(shops: World, skyctl: Skyctl, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(MANIFEST)

    done = skyctl("offerings", "-f", file)
    told = json.loads(skyctl("offerings", "-f", file, "-o", "json").out)

    lines = done.out.splitlines()
    assert [line.split()[3] for line in lines[1:3]] == ["spot", "on-demand"]
    assert lines[2].endswith("when no spot machine is free")
    assert lines[3] == "and 1 more that do not fit: --all shows them"
    assert [item["fits"] for item in told["items"]] == [True, True, False]
    assert told["items"][2]["why"] == "has GAUDIHL205-32GB:8"
    assert shops.shelves["shop-a"].asked == [{"region": "us-east-1"}], "with the manifest's options, once a minute"


def test_of_a_pool_the_cool_down_of_a_refused_offering_is_told(shops: World, skyctl: Skyctl) -> None:
    shops.put(make_pool("train", 2, providers=({"name": "shop-a"},), accelerator="H100:8", allocation="spot"))
    now = time.time()
    shops.catalog.cool_downs.add(SPOTTY.id, now + 100, "no capacity", Reason.INSUFFICIENT_CAPACITY, now=now)

    done = skyctl("offerings", "train", "--all")

    lines = done.out.splitlines()
    assert "cools " in lines[1]
    assert lines[1].endswith("refused lately: no capacity")
    assert lines[2].endswith("is on-demand")


def test_what_cannot_be_read_is_told_and_the_rest_is_shown(shops: World, skyctl: Skyctl, tmp_path: Path) -> None:
    shops.shelves["shop-b"].problem = "the key expired"

    done = skyctl("offerings")

    assert "p5.48xlarge" in done.out
    assert done.err.strip() == "error: shop-b: the key expired"


def test_when_nothing_fits_the_exit_status_says_so(shops: World, skyctl: Skyctl, tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(MANIFEST.replace("H100:8", "H200"))

    done = skyctl("offerings", "-f", file)

    assert done.status == 1
    assert done.out.startswith("nothing fits:\n")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("nobody",), '"nobody" not found'),
        (("train", "-f", "x.yaml"), "name a pool or a manifest, not both"),
        (("-o", "xml"), "there is wide, yaml and json"),
    ],
)
def test_a_mistake_is_one_line(shops: World, skyctl: Skyctl, argv: tuple[str, ...], expected: str) -> None:
    done = skyctl("offerings", *argv)

    assert done.status == 1
    assert expected in done.err
    assert len(done.err.splitlines()) == 1
