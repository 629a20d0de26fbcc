"""A manifest file read into pools, and into one problem for each thing that is wrong, with its line."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from skyward.api import DEFAULT_NAMESPACE, Pool, Problem, check_name
from skyward.documents.checking import MAX_CAUSES, Cause, check
from skyward.documents.chunks import Chunk, split
from skyward.documents.composing import Composer
from skyward.documents.tree import Malformed, Tree, line_of, to_json

MAX_FILE_BYTES = 1 << 20
MAX_DOCUMENTS = 1000
_BOM = "\ufeff"
_METADATA = re.compile(r"^metadata[ \t]*:.*(?:\r?\n(?:[ \t#].*)?)*", re.MULTILINE)
_CLAIM = r"""(?:^[ \t]+|[{{,][ \t]*)["']?{}["']?[ \t]*:[ \t]+["']?([a-z0-9][-a-z0-9]*)"""


@dataclass(frozen=True, slots=True)
class Document:
    """One good document."""

    pool: Pool
    file: str
    index: int
    """Its place among the file's chunks: what `remove_document` takes."""
    line: int
    digest: str
    """Of its text."""


@dataclass(frozen=True, slots=True)
class BrokenDocument:
    file: str
    index: int
    line: int
    key: str | None
    """`namespace/name` that it claims, where that can be read."""
    is_readable: bool
    """It is YAML: what it claims was read, not guessed."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ParsedFile:
    documents: tuple[Document, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Everything that is wrong, by line."""
    broken: tuple[BrokenDocument, ...] = ()
    is_opaque: bool = False
    """It may declare a pool whose name could not be read."""


def parse_file(file: str, data: bytes) -> ParsedFile:
    """Never raises: whatever the bytes are, the answer says what they hold and what is wrong. A broken document takes
    nothing away from the others of its file."""
    if len(data) > MAX_FILE_BYTES:
        return opaque(Problem(file=file, line=0, field="", message="is larger than 1 MiB"))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        return opaque(Problem(file=file, line=line, field="", message="is not UTF-8 text; save it as UTF-8"))
    chunks = split(text.removeprefix(_BOM))
    if sum(not chunk.is_empty for chunk in chunks) > MAX_DOCUMENTS:
        return opaque(Problem(file=file, line=0, field="", message=f"holds more than {MAX_DOCUMENTS:,} documents"))
    read = [_read(file, index, chunk) for index, chunk in enumerate(chunks) if not chunk.is_empty]
    broken = tuple(document for document in read if isinstance(document, BrokenDocument))
    return ParsedFile(
        documents=tuple(document for document in read if isinstance(document, Document)),
        problems=tuple(problem for document in broken for problem in document.problems),
        broken=broken,
        is_opaque=any(document.key is None and not document.is_readable for document in broken),
    )


def opaque(problem: Problem) -> ParsedFile:
    """A file that cannot be read at all."""
    return ParsedFile(problems=(problem,), is_opaque=True)


def compose(chunk: Chunk) -> tuple[Tree | None, list[tuple[int, str]]]:
    """The chunk's tree and the faults that did not stop its reading. Raises Malformed."""
    composer = Composer(chunk.text, chunk.line)
    tree = composer.compose()
    return tree, composer.problems[:MAX_CAUSES]


def _read(file: str, index: int, chunk: Chunk) -> Document | BrokenDocument | None:
    faults: list[tuple[int, str]] = []
    try:
        tree, faults = compose(chunk)
        if tree is None:
            return None
        value = to_json(tree)
    except Malformed as err:
        faults = [*faults, (err.line, err.message)]
        problems = tuple(Problem(file=file, line=line, field="", message=message) for line, message in faults)
        return BrokenDocument(file, index, err.line, _guess(chunk.text), is_readable=False, problems=problems)
    checked = check(value)
    line = tree.span.line
    if checked.pool is not None and not faults:
        return Document(checked.pool, file, index, line, hashlib.sha256(chunk.text.encode()).hexdigest())
    problems = tuple(
        sorted(
            [Problem(file=file, line=at, field="", message=message) for at, message in faults]
            + [_problem(file, tree, cause) for cause in checked.causes],
            key=lambda problem: problem.line,
        )
    )
    return BrokenDocument(file, index, line, _claim(value), is_readable=True, problems=problems)


def _problem(file: str, tree: Tree, cause: Cause) -> Problem:
    return Problem(file=file, line=line_of(tree, cause.path), field=cause.field, message=cause.message)


def _claim(value: Any) -> str | None:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict):
        return None
    return _key(metadata.get("namespace", DEFAULT_NAMESPACE), metadata.get("name"))


def _guess(text: str) -> str | None:
    """The pool that a document means although it is not YAML at the moment, as its metadata reads to the eye."""
    metadata = _METADATA.search(text)
    if metadata is None:
        return None
    name, namespace = (re.search(_CLAIM.format(field), metadata[0], re.MULTILINE) for field in ("name", "namespace"))
    return _key(namespace[1] if namespace else DEFAULT_NAMESPACE, name[1] if name else None)


def _key(namespace: Any, name: Any) -> str | None:
    if not isinstance(namespace, str) or not isinstance(name, str):
        return None
    try:
        return f"{check_name(namespace)}/{check_name(name)}"
    except ValueError:
        return None
