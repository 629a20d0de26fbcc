"""Manifests from files, directories and stdin: read, checked offline, and put as the API wants them."""

from __future__ import annotations

import errno
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skyward.errors import Invalid, UserError
from skyward.skyctl.session import Session

if TYPE_CHECKING:
    from skyward.api import Json, Pool, Problem
    from skyward.documents import Document

STDIN = "-"
_SUFFIXES = (".yaml", ".yml")


def read(files: Sequence[str]) -> tuple[list[Document], list[Problem]]:
    """Every document of these files and everything wrong with them. Raises UserError for what cannot be read."""
    from skyward.api import Problem
    from skyward.documents import parse_file

    if not files:
        raise UserError("say which manifest: -f FILE, -f DIR, or -f - for stdin")
    documents: list[Document] = []
    problems: list[Problem] = []
    for name, data in _contents(files):
        if isinstance(data, str):
            problems.append(Problem(file=name, line=0, field="", message=data))
            continue
        parsed = parse_file(name, data)
        documents += parsed.documents
        problems += parsed.problems
    first: dict[str, Document] = {}
    for document in documents:
        other = first.setdefault(document.pool.key, document)
        if other is not document:
            message = f"pool {document.pool.key} is declared here and at {other.file}:{other.line}; keep one of them"
            problems.append(Problem(file=document.file, line=document.line, field="metadata.name", message=message))
    return documents, problems


def pools(files: Sequence[str], session: Session) -> list[Pool]:
    """The pools of these files, in their namespaces. Raises Invalid unless everything is right."""
    documents, problems = read(files)
    if problems:
        more = f" (and {len(problems) - 1} more: skyctl validate -f shows all)" if len(problems) > 1 else ""
        raise Invalid(f"{problems[0]}{more}")
    if not documents:
        raise UserError(f"{', '.join(files)}: there is no pool in it")
    return [_placed(document, session) for document in documents]


def body_of(pool: Pool) -> Json:
    """What a user decides about a pool, as the API takes it."""
    meta: Json = {"name": pool.metadata.name, "namespace": pool.metadata.namespace}
    if pool.metadata.labels:
        meta["labels"] = dict(pool.metadata.labels)
    if pool.metadata.annotations:
        meta["annotations"] = dict(pool.metadata.annotations)
    spec = pool.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {"apiVersion": pool.api_version, "kind": pool.kind, "metadata": meta, "spec": spec}


def _placed(document: Document, session: Session) -> Pool:
    meta = document.pool.metadata
    says = "namespace" in meta.model_fields_set
    given = session.given_namespace
    if says and given is not None and given != meta.namespace:
        raise UserError(
            f"{document.file}:{document.line}: the pool's namespace is {meta.namespace!r}, not {given!r} as -n says"
        )
    namespace = meta.namespace if says else session.namespace()
    return document.pool.replace(metadata=meta.replace(namespace=namespace))


def _contents(files: Iterable[str]) -> Iterator[tuple[str, bytes | str]]:
    """Each file with its bytes, or with why it cannot be one. Raises UserError for a name given that leads nowhere."""
    for name in files:
        if name == STDIN:
            yield "stdin", sys.stdin.buffer.read()
            continue
        path = Path(name)
        if not path.is_dir():
            yield name, _bytes(path)
            continue
        found = sorted(entry for entry in path.rglob("*") if _is_manifest(entry, path))
        if not found:
            raise UserError(f"{name}: there is no manifest (*.yaml, *.yml) in this directory")
        for entry in found:
            yield str(entry), _refusal(entry) or _bytes(entry)


def _is_manifest(entry: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in entry.relative_to(root).parts)
    return entry.suffix in _SUFFIXES and not hidden


def _refusal(entry: Path) -> str | None:
    """Why what is named like a manifest is none; in the operator's words for the same."""
    try:
        mode = entry.stat().st_mode
    except FileNotFoundError:
        return "is a symbolic link to nothing; mend or remove it"
    except OSError as error:
        return "is a symbolic link to itself" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(mode):
        return "is a directory, not a manifest; rename it"
    return None if stat.S_ISREG(mode) else "is not a regular file"


def _bytes(path: Path) -> bytes:
    """A little more than the most that a manifest may hold: enough to say that it is too large."""
    from skyward.documents import MAX_FILE_BYTES

    try:
        if not path.is_file():
            raise UserError(f"{path}: {_why_not(path)}")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _why_not(path: Path) -> str:
    return (
        (_refusal(path) or "is not a regular file")
        if path.is_symlink() or path.exists()
        else "no such file or directory"
    )
