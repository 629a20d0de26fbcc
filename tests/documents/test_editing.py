"""Edits of manifests as people write them: the smallest difference, comments and layout kept."""

from __future__ import annotations

import difflib
from typing import Any

import pytest

from skyward.api import PoolSpec
from skyward.contracts import Manifest
from skyward.documents import add, diff_spec, edit, parse_file, remove_document, render
from skyward.errors import Invalid, NotFound

HEAD = "apiVersion: skyward.dev/v1alpha1\nkind: Pool\n"
AWKWARD = f"""\
# Licence: none

{HEAD}metadata: {{name: hello}}   # the pool
spec:   # what we want
  # before nodes
  nodes:   2   # two, for now
  provider: local # short form

  image:
    pip:   # packages
    # maths
    - numpy   # arrays
    - 'scipy>=1'
    setup:
      - echo hi
      - run: |
          # not a comment
          echo "a: b"
        timeout: 5m   # plenty
    env:
      MODE: "fast"

  # the end
"""


def _diff(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def _changed(text: str, change: Any, **metadata: Any) -> str:
    """The text after an API client read the pool, changed its spec and sent all of it back."""
    pool = parse_file("a.yaml", text.encode()).documents[0].pool
    spec = pool.spec.to_json()
    change(spec)
    edited = edit(text, Manifest(pool.metadata.namespace, pool.metadata.name, spec, **metadata))
    assert parse_file("a.yaml", edited.encode()).documents[0].pool.spec == PoolSpec.model_validate(spec)
    return edited


def _set(path: str, value: Any) -> Any:
    def change(spec: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        here: Any = spec
        for part in parents:
            here = here[int(part)] if part.isdigit() else here[part]
        here[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            _set("nodes", 3), ["-  nodes:   2   # two, for now", "+  nodes:   3   # two, for now"], id="a number"
        ),
        pytest.param(
            _set("image.pip.packages", ["numpy", "pandas", "scipy>=1"]), ["+    - pandas"], id="a package more"
        ),
        pytest.param(_set("image.pip.packages", ["scipy>=1"]), ["-    - numpy   # arrays"], id="a package less"),
        pytest.param(
            _set("image.pip.packages", ["numpy", "scipy>=2"]), ["-    - 'scipy>=1'", "+    - 'scipy>=2'"], id="quotes"
        ),
        pytest.param(
            _set("image.setup.1.timeout", "6m"),
            ["-        timeout: 5m   # plenty", "+        timeout: 6m   # plenty"],
            id="deep in a list",
        ),
        pytest.param(_set("image.env", {"MODE": "fast", "OTHER": "1"}), ['+      OTHER: "1"'], id="a variable more"),
        pytest.param(_set("image.env", {}), ["-    env:", '-      MODE: "fast"'], id="no variables"),
        pytest.param(_set("drainTimeout", "1m"), ["+  drainTimeout: 1m"], id="a new field"),
        pytest.param(_set("paused", True), ["+  paused: true"], id="a new flag"),
        pytest.param(
            _set("providers", [{"name": "local", "weight": 2}]),
            ["-  provider: local # short form", "+  providers:", "+    - name: local", "+      weight: 2"],
            id="short form too short",
        ),
        pytest.param(_set("rollout", {"maxSurge": "25%"}), ["+  rollout:", '+    maxSurge: "25%"'], id="a mapping"),
    ],
)
def test_a_change_touches_its_own_lines_only(change: Any, expected: list[str]) -> None:
    assert _diff(AWKWARD, _changed(AWKWARD, change)) == expected


def test_labels_and_annotations_are_edited_in_place() -> None:
    edited = _changed(AWKWARD, _set("nodes", 2), labels={"team": "a"}, annotations={"note": "x: y"})

    assert _diff(AWKWARD, edited) == [
        "-metadata: {name: hello}   # the pool",
        '+metadata: {name: hello, labels: {team: a}, annotations: {note: "x: y"}}   # the pool',
    ]
    assert _changed(edited, _set("nodes", 2)) == AWKWARD


def test_flow_style_stays_flow_style() -> None:
    text = f"{HEAD}metadata: {{name: hello}}\nspec: {{nodes: 2, provider: local}} # all of it\n"

    edited = _changed(text, _set("env", {"A": "1"}))
    edited = _changed(edited, _set("nodes", 4))

    assert edited == text.replace("{nodes: 2, provider: local}", '{nodes: 4, provider: local, env: {A: "1"}}')
    assert _changed(_changed(edited, _set("env", {})), _set("nodes", 2)) == text


def test_an_edit_below_an_alias_leaves_the_anchor_alone() -> None:
    text = (
        f"{HEAD}metadata: {{name: hello}}\nspec:\n  nodes: 1\n  provider: local\n"
        "  image:\n    env: &shared {A: x}   # both\n  env: *shared\n"
    )

    edited = _changed(text, _set("env", {"A": "z"}))

    assert _diff(text, edited) == ["-  env: *shared", "+  env:", "+    A: z"]


def test_an_edit_of_an_anchor_keeps_what_its_aliases_say() -> None:
    text = (
        f"{HEAD}metadata: {{name: hello}}\nspec:\n  nodes: 1\n  provider: local\n"
        "  image:\n    env: &shared {A: x}   # both\n  env: *shared\n"
    )

    edited = _changed(text, _set("image.env", {"A": "z"}))

    assert "env: &shared {A: z}   # both" in edited


def test_a_dropped_anchor_that_others_need_costs_the_layout_but_not_the_meaning() -> None:
    text = (
        f"# head\n{HEAD}metadata: {{name: hello}}\nspec:\n  nodes: 1\n  provider: local\n"
        "  image:\n    env: &shared {A: x}\n  env: *shared\n---\n# next\n"
    )

    edited = _changed(text, _set("image", {}))

    assert edited.startswith("# head\n")
    assert edited.endswith("---\n# next\n")


def test_line_ends_and_byte_order_mark_are_kept() -> None:
    text = "\ufeff" + AWKWARD.replace("\n", "\r\n")

    edited = _changed(text, _set("rollout", {"maxSurge": 1}))

    assert edited == text.replace('MODE: "fast"\r\n', 'MODE: "fast"\r\n  rollout:\r\n    maxSurge: 1\r\n')


def test_a_file_without_a_last_line_end_is_edited_too() -> None:
    text = f"{HEAD}metadata: {{name: hello}}\nspec:\n  nodes: 1\n  provider: local"

    assert _changed(text, _set("paused", True)) == f"{text}\n  paused: true"


def test_script_text_is_written_as_a_block() -> None:
    text = f"{HEAD}metadata: {{name: hello}}\nspec:\n  nodes: 1\n  provider: local\n"

    edited = _changed(text, _set("image", {"setup": ["echo a\necho b\n"], "requirements": "numpy\n\nscipy\n"}))

    assert edited.endswith(
        "  image:\n    requirements: |\n      numpy\n\n      scipy\n    setup:\n      - |\n        echo a\n        echo b\n"
    )


def test_documents_come_and_go_and_leave_the_others_alone() -> None:
    second = Manifest("team", "second", {"nodes": 1, "provider": "local"})

    both = add(AWKWARD, second)

    assert both.startswith(AWKWARD)
    assert [each.pool.key for each in parse_file("a.yaml", both.encode()).documents] == ["default/hello", "team/second"]
    assert remove_document(both, 1) == AWKWARD
    assert remove_document(AWKWARD, 0) == ""
    assert AWKWARD not in remove_document(both, 0)


def test_rendering_leaves_out_what_the_user_did_not_decide() -> None:
    pool = parse_file("a.yaml", AWKWARD.encode()).documents[0].pool
    stored = pool.replace(
        metadata=pool.metadata.replace(uid="u", resource_version="7", finalizers=("f",)),
        status=pool.status.replace(nodes=3),
    )

    assert render(stored).splitlines()[:7] == [
        "apiVersion: skyward.dev/v1alpha1",
        "kind: Pool",
        "metadata:",
        "  name: hello",
        "spec:",
        "  nodes: 2",
        "  provider: local",
    ]


def test_an_invalid_manifest_is_refused_with_each_cause() -> None:
    with pytest.raises(Invalid) as caught:
        edit(AWKWARD, Manifest("default", "hello", {"nodes": -1, "provider": "x"}))

    assert [field for field, _ in caught.value.causes] == ["spec.nodes", "spec.provider"]


def test_a_pool_of_another_file_is_not_found() -> None:
    with pytest.raises(NotFound):
        edit(AWKWARD, Manifest("default", "other", {"nodes": 1, "provider": "local"}))


def test_differences_are_told_field_by_field() -> None:
    old = {"nodes": 2, "image": {"env": {"A": "1", "B": "2"}}}
    new = {"nodes": 3, "image": {"env": {"A": "1", "C": "3"}}}

    assert [str(change) for change in diff_spec(old, new)] == [
        'spec.image.env.B removed: "2"',
        'spec.image.env.C added: "3"',
        "spec.nodes: 2 → 3",
    ]
