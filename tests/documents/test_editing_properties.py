"""Laws of edits, over random specs in random layouts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyward.api import PoolSpec
from skyward.contracts import Manifest
from skyward.documents import add, edit, parse_file, remove_document, render
from tests.documents.layouts import lay_out
from tests.documents.strategies import full_specs, labels, specs

_RELAXED = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def _text(name: str, spec: dict[str, Any], label: dict[str, str], seed: int) -> str:
    metadata: dict[str, Any] = {"name": name, "labels": label} if label else {"name": name}
    document = {"apiVersion": "skyward.dev/v1alpha1", "kind": "Pool", "metadata": metadata, "spec": spec}
    return lay_out(document, random.Random(seed))


def _pools(text: str) -> dict[str, Any]:
    parsed = parse_file("a.yaml", text.encode())
    assert not parsed.problems, f"{parsed.problems}\n{text}"
    return {document.pool.metadata.name: document.pool for document in parsed.documents}


@pytest.mark.slow
@_RELAXED
@given(specs, st.one_of(specs, full_specs), labels, labels, st.integers(0, 1 << 30))
def test_an_edited_document_means_what_was_asked_and_its_neighbour_is_untouched(
    old: dict[str, Any], new: dict[str, Any], old_labels: dict[str, str], new_labels: dict[str, str], seed: int
) -> None:
    first, second = _text("first", old, old_labels, seed), _text("second", old, {}, seed + 1)
    text = f"{first}---\n{second}"
    assert _pools(text)["first"].spec == PoolSpec.model_validate(old)

    edited = edit(text, Manifest("default", "first", new, new_labels))

    pools = _pools(edited)
    assert pools["first"].spec == PoolSpec.model_validate(new)
    assert pools["first"].metadata.labels == new_labels
    assert edited.endswith(f"---\n{second}")


@pytest.mark.slow
@_RELAXED
@given(specs, labels, st.integers(0, 1 << 30))
def test_an_edit_that_says_what_is_said_already_changes_nothing(
    spec: dict[str, Any], label: dict[str, str], seed: int
) -> None:
    text = _text("first", spec, label, seed)
    as_client_sends_it = PoolSpec.model_validate(spec).to_json()

    assert edit(text, Manifest("default", "first", as_client_sends_it, label)) == text


@pytest.mark.slow
@_RELAXED
@given(specs, st.integers(0, 1 << 30), st.integers(10, 99))
def test_a_changed_count_changes_one_line(spec: dict[str, Any], seed: int, nodes: int) -> None:
    text = _text("first", spec, {}, seed)
    new = {**PoolSpec.model_validate(spec).to_json(), "nodes": nodes}

    edited = edit(text, Manifest("default", "first", new))

    before, after = text.splitlines(), edited.splitlines()
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


@pytest.mark.slow
@_RELAXED
@given(full_specs, labels)
def test_a_rendered_pool_reads_back_as_the_same_pool(spec: dict[str, Any], label: dict[str, str]) -> None:
    text = add("", Manifest("team", "first", spec, label, {"note": "a\nb"}))

    pool = _pools(text)["first"]

    assert pool.spec == PoolSpec.model_validate(spec)
    assert (pool.metadata.namespace, pool.metadata.labels) == ("team", label)
    assert render(pool) == text


@pytest.mark.slow
@_RELAXED
@given(specs, specs, st.integers(0, 1 << 30))
def test_adding_and_removing_a_document_gives_the_old_text_back(
    one: dict[str, Any], other: dict[str, Any], seed: int
) -> None:
    text = _text("first", one, {}, seed)

    added = add(text, Manifest("default", "second", other))

    assert set(_pools(added)) == {"first", "second"}
    assert remove_document(added, 1) == text
    assert set(_pools(remove_document(added, 0))) == {"second"}


@pytest.mark.slow
@_RELAXED
@given(st.one_of(st.binary(max_size=200), st.text("abk:- \n#{}[]&*!|>'\"%,?\t\r01.~<", max_size=60).map(str.encode)))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    parsed = parse_file("a.yaml", data)

    assert all(problem.message and "\n" not in problem.message for problem in parsed.problems)
