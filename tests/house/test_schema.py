"""The schema for editors is fresh, knows what the parser knows, and every sample manifest is good."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skyward.api import PoolSpec
from skyward.documents import manifest_schema, parse_file

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "manifests" / "schema" / "pool.json"
SAMPLES = sorted((ROOT / "manifests").rglob("*.yaml"))


def test_the_schema_is_fresh() -> None:
    assert json.loads(SCHEMA.read_text()) == manifest_schema(), "run hack/gen-schema"


def test_the_schema_knows_every_field_and_the_short_forms() -> None:
    schema = manifest_schema()
    spec = schema["$defs"]["PoolSpec"]["properties"]

    assert set(spec) == {field.alias or name for name, field in PoolSpec.model_fields.items()} | {"provider"}
    assert all(field.get("x-skyward-change") in ("in-place", "replace") for field in spec.values())
    assert set(schema["$defs"]["ObjectMeta"]["properties"]) == {"name", "namespace", "labels", "annotations"}
    assert {"type": "string"} in schema["$defs"]["ImageSpec"]["properties"]["setup"]["items"]["anyOf"]
    assert "status" not in schema["properties"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_sample_manifest_is_good_and_names_the_schema(path: Path) -> None:
    parsed = parse_file(path.name, path.read_bytes())

    assert parsed.problems == ()
    assert parsed.documents
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == SCHEMA


def test_sample_pools_do_not_share_names() -> None:
    names = [document.pool.key for path in SAMPLES for document in parse_file("x", path.read_bytes()).documents]

    assert len(names) == len(set(names)) >= 4
