"""What a snapshot declares: for each pool the documents that claim its name, good or broken. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skyward.api import Pool, Problem
from skyward.documents import BrokenDocument, Document, ParsedFile
from skyward.intake.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Declared:
    revision: str
    claims: Mapping[str, tuple[Document | BrokenDocument, ...]]
    """By `namespace/name`, in the order of files and lines."""
    broken: Mapping[str, tuple[BrokenDocument, ...]]
    """By file. A half-written document may show no name, or the beginning of one: any of them may be the one that declared a
    pool before."""
    empty: frozenset[str]
    """Files that hold nothing, not even a comment: they were cut to nothing, or are about to be written."""
    problems: tuple[Problem, ...]
    files: int
    unknown: tuple[str, ...]
    """Files whose content is not known: while there are any, no pool's absence is proved."""

    @property
    def pools(self) -> int:
        """Pools that are declared by exactly one good document."""
        return sum(document_of(claims) is not None for claims in self.claims.values())

    def nameless_of(self, pool: Pool) -> tuple[BrokenDocument, ...]:
        """Broken documents that do not name the pool, in the file that it came from."""
        found = self.broken.get(pool.status.file.rpartition(":")[0], ())
        return tuple(document for document in found if document.key != pool.key)

    def lacks(self, pool: Pool) -> bool:
        """No document claims the pool, and none of its old file may be the one that did."""
        return not (self.claims.get(pool.key) or self.nameless_of(pool) or self.emptied(pool))

    def emptied(self, pool: Pool) -> str:
        """The file that the pool came from, if it is there and holds nothing: whoever means to remove a pool removes the file
        or writes something else into it."""
        file = pool.status.file.rpartition(":")[0]
        return file if file in self.empty else ""


def declare(snapshot: Snapshot, parsed: Mapping[str, ParsedFile]) -> Declared:
    """`parsed` holds each of the snapshot's files by path."""
    claims: dict[str, list[Document | BrokenDocument]] = {}
    broken: dict[str, list[BrokenDocument]] = {}
    for file in snapshot.files:
        content = parsed[file.path]
        found: list[Document | BrokenDocument] = [*content.documents, *content.broken]
        for document in sorted(found, key=lambda each: each.index):
            key = document.pool.key if isinstance(document, Document) else document.key
            if key is not None:
                claims.setdefault(key, []).append(document)
            if isinstance(document, BrokenDocument):
                broken.setdefault(file.path, []).append(document)
    problems = [rejected.problem for rejected in snapshot.rejected]
    problems += [problem for file in snapshot.files for problem in parsed[file.path].problems]
    problems += [problem for key, documents in claims.items() for problem in _conflicts(key, documents)]
    return Declared(
        revision=snapshot.revision,
        claims={key: tuple(documents) for key, documents in claims.items()},
        broken={file: tuple(documents) for file, documents in broken.items()},
        empty=frozenset(file.path for file in snapshot.files if not file.data.strip()),
        problems=tuple(sorted(problems, key=lambda problem: (problem.file, problem.line))),
        files=len(snapshot.files),
        unknown=tuple(rejected.problem.file for rejected in snapshot.rejected if rejected.may_declare)
        + tuple(file.path for file in snapshot.files if parsed[file.path].is_opaque),
    )


def place(document: Document | BrokenDocument) -> str:
    return f"{document.file}:{document.line}"


def places(documents: Iterable[Document | BrokenDocument]) -> str:
    return " and ".join(place(document) for document in documents)


def document_of(claims: tuple[Document | BrokenDocument, ...]) -> Document | None:
    """The one good document of a pool; None when it is broken or another claims the name too."""
    return claims[0] if len(claims) == 1 and isinstance(claims[0], Document) else None


def _conflicts(key: str, documents: list[Document | BrokenDocument]) -> list[Problem]:
    if len(documents) == 1:
        return []
    return [
        Problem(
            file=document.file,
            line=document.line,
            field="metadata.name",
            message=f"pool {key} is also declared in {places(other for other in documents if other is not document)}",
        )
        for document in documents
    ]
