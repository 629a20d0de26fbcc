"""The guides say what the code does: the field table covers the schema, and each of its marks is the schema's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skyward.api import PoolSpec
from skyward.api.providers import OtherProvider
from skyward.settings import Settings
from skyward_agent.wire.messages import OUTCOMES

DOCS = Path(__file__).resolve().parents[2] / "docs"
_SHORT_FORMS = {"provider"}
_TOLD_IN_ONE_ROW = {"OfferingSpec"}


def test_the_table_of_manifest_fields_covers_exactly_the_schema_with_its_marks() -> None:
    schema = PoolSpec.model_json_schema(by_alias=True)
    expected = {
        path: str(field["x-skyward-change"])
        for name, field in schema["properties"].items()
        for path in _leaves(name, field, schema["$defs"])
    }

    documented = {
        field: change.replace(" ", "-")
        for field, change in _rows("manifests.md", "## The spec")
        if field not in _SHORT_FORMS
    }

    assert documented == expected


def test_the_table_of_outcomes_covers_exactly_the_wire() -> None:
    documented = {field for field, _ in _rows("tasks.md", "## How an attempt ends")}

    assert documented == set(OUTCOMES)


def test_every_option_of_the_operator_is_documented() -> None:
    text = (DOCS / "operating.md").read_text()
    variables = {f"SKYWARD_{name.upper()}" for name in ("manifests", "state", "listen", "tasks", "kubeconfig")}

    assert {name for name in variables if f"`{name}`" not in text} == set()
    assert {"manifests", "state", "listen", "tasks", "kubeconfig"} <= Settings.model_fields.keys()


def _leaves(path: str, field: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    """Paths of the fields that hold values, like `image.setup[].run`."""
    choices = [field, *field.get("anyOf", ())]
    for choice in choices:
        target = choice.get("items", choice)
        suffix = "[]" if "items" in choice else ""
        models = [part["$ref"].rsplit("/", 1)[-1] for part in (target, *target.get("oneOf", ())) if "$ref" in part]
        for model in models:
            if model in _TOLD_IN_ONE_ROW:
                yield f"{path}{suffix}"
            elif model != OtherProvider.__name__:
                for name, inner in definitions[model]["properties"].items():
                    yield from _leaves(f"{path}{suffix}.{name}", inner, definitions)
        if models:
            return
    yield path


def _rows(file: str, heading: str) -> Iterator[tuple[str, str]]:
    """First and third cell of each row of the table below a heading."""
    section = (DOCS / file).read_text().split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        named = re.fullmatch(r"`([^`]+)`", cells[0])
        if named is not None:
            yield named[1], cells[2]
