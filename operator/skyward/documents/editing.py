"""Edits of a manifest file: one document changed, added or removed, all others left byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from skyward.api import API_VERSION, DEFAULT_NAMESPACE, Json, Pool
from skyward.documents import emitting
from skyward.documents.checking import Cause, Checked, check
from skyward.documents.chunks import Chunk, split
from skyward.documents.parsing import compose
from skyward.documents.splicing import TooTangled, splice
from skyward.documents.tree import Malformed, Tree, to_json
from skyward.documents.wanted import compact, same, wanted_spec
from skyward.errors import Invalid, NotFound

_BOM = "\ufeff"
_ROUNDS = 5
"""A changed anchor changes its aliases too; each round puts the nearest of them right."""


class ManifestLike(Protocol):
    """What a user may decide about a pool (`skyward.contracts.Manifest` is one)."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> Json: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def annotations(self) -> Mapping[str, str]: ...


def check_manifest(manifest: ManifestLike) -> Pool:
    """The pool that this manifest declares. Raises Invalid with a cause for each field that is wrong."""
    checked = check(_document(manifest, manifest.spec))
    if checked.pool is None:
        raise _invalid(manifest, checked)
    return checked.pool


def edit(text: str, manifest: ManifestLike) -> str:
    """The file's text with the manifest's document saying what the manifest means. Text that means it already stays as it
    is. Raises Invalid, and NotFound when no good document of the file declares this pool."""
    wanted = check_manifest(manifest)
    bom, chunks = _split(text)
    for index, chunk in enumerate(chunks):
        tree = _declaring(chunk, wanted)
        if tree is not None:
            edited = _edited(chunk, tree, _wanted_document(to_json(tree), wanted))
            return bom + "".join(edited if at == index else other.text for at, other in enumerate(chunks))
    raise NotFound(f"no document of the file declares pool {wanted.key}")


def add(text: str, manifest: ManifestLike) -> str:
    """The file's text with a new document at its end."""
    document = render(check_manifest(manifest))
    if all(chunk.is_empty for chunk in _split(text)[1]):
        return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{document}"
    newline = "\r\n" if "\r\n" in text else "\n"
    end = "" if text.endswith("\n") else newline
    return text + end + "---" + newline + document.replace("\n", newline)


def remove_document(text: str, index: int) -> str:
    """The file's text without the document of this index. Empty when no other document is left."""
    bom, chunks = _split(text)
    rest = [chunk for at, chunk in enumerate(chunks) if at != index]
    if all(chunk.is_empty for chunk in rest):
        return ""
    return bom + "".join(chunk.text for chunk in rest)


def render(pool: Pool) -> str:
    """A clean document of what a user may decide: no status, no metadata of the operator's, no defaults."""
    return _lines(_document(pool.metadata, compact(pool.spec)))


def _document(meta: Any, spec: Any) -> Json:
    metadata: Json = {"name": meta.name}
    if meta.namespace != DEFAULT_NAMESPACE:
        metadata["namespace"] = meta.namespace
    if meta.labels:
        metadata["labels"] = dict(meta.labels)
    if meta.annotations:
        metadata["annotations"] = dict(meta.annotations)
    return {"apiVersion": API_VERSION, "kind": Pool.KIND, "metadata": metadata, "spec": spec}


def _wanted_document(raw: Json, wanted: Pool) -> Json:
    """The document's own value with labels, annotations and spec as wanted; the rest is not ours to change."""
    metadata = dict(raw["metadata"])
    for name, values in (("labels", wanted.metadata.labels), ("annotations", wanted.metadata.annotations)):
        if values:
            metadata[name] = dict(values)
        elif metadata.get(name):
            del metadata[name]
    return {**raw, "metadata": metadata, "spec": wanted_spec(raw["spec"], wanted.spec)}


def _edited(chunk: Chunk, tree: Tree, wanted: Json) -> str:
    text = chunk.text
    for _ in range(_ROUNDS):
        try:
            text = splice(text, tree, wanted)
            again, faults = compose(Chunk(text, chunk.line))
            if again is None or faults:
                break
            tree = again
            if same(to_json(tree), wanted):
                return text
        except (TooTangled, Malformed):
            break
    return _rewritten(chunk, wanted)


def _rewritten(chunk: Chunk, wanted: Json) -> str:
    """The document written anew below its marker: for layouts (anchors that others need, mostly) that defy an edit."""
    head: list[str] = []
    for line in chunk.text.splitlines(keepends=True):
        if not line.startswith(("---", "%", "#")) and line.strip():
            break
        head.append(line if not line.startswith("---") else "---\n")
    tail = "...\n" if chunk.text.rstrip().endswith("\n...") else ""
    return "".join(head) + _lines(wanted) + tail


def _lines(value: Json) -> str:
    return "\n".join(emitting.block(value, 0)) + "\n"


def _declaring(chunk: Chunk, wanted: Pool) -> Tree | None:
    """The chunk's tree when it is a good document of this pool."""
    if chunk.is_empty:
        return None
    try:
        tree, faults = compose(chunk)
        value = None if tree is None or faults else to_json(tree)
    except Malformed:
        return None
    pool = check(value).pool
    return tree if pool is not None and pool.key == wanted.key else None


def _split(text: str) -> tuple[str, tuple[Chunk, ...]]:
    bom = _BOM if text.startswith(_BOM) else ""
    return bom, split(text.removeprefix(_BOM))


def _invalid(manifest: ManifestLike, checked: Checked) -> Invalid:
    causes = tuple((cause.field, cause.message) for cause in checked.causes)
    return Invalid(f"pool {manifest.namespace}/{manifest.name} is invalid: {_sentence(checked.causes)}", causes)


def _sentence(causes: tuple[Cause, ...]) -> str:
    return "; ".join(f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes)
