"""Printing: the server's tables, YAML and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from skyward.skyctl.session import clean

if TYPE_CHECKING:
    from skyward.api import Json

_GAP = "   "
_AGE, _STATUS, _GONE = "AGE", "STATUS", "Gone"


class TablePrinter:
    """Rows of server tables; later tables keep the columns of the first, and its widths while they do. Of a watched object
    that shows nothing new but its age, no row is printed."""

    def __init__(self, *, wide: bool, with_namespace: bool, headers: bool = True, indent: str = "") -> None:
        self._wide = wide
        self._with_namespace = with_namespace
        self._headers = headers
        self._indent = indent
        self._columns: list[int] = []
        self._widths: list[int] = []
        self._age: int | None = None
        self._status: int | None = None
        self._shown: dict[str, list[str]] = {}
        """What was printed last of each object."""

    def show(self, table: Json, *, is_gone: bool = False) -> None:
        """Print what is new. `is_gone` says that these objects were deleted."""
        rows: list[list[str]] = []
        if not self._columns:
            definitions = table.get("columnDefinitions") or []
            self._columns = [
                index for index, column in enumerate(definitions) if self._wide or not column.get("priority")
            ]
            header = [definitions[index]["name"].upper() for index in self._columns]
            self._status = self._columns[header.index(_STATUS)] if _STATUS in header else None
            self._age = header.index(_AGE) if _AGE in header else None
            if self._headers:
                rows.append(["NAMESPACE", *header] if self._with_namespace else header)
        if is_gone and self._status is not None:
            for row in table.get("rows") or []:
                row["cells"][self._status] = _GONE
        rows += [self._cells(row) for row in table.get("rows") or [] if self._is_news(row)]
        if rows:
            self._widths = list(map(max, zip(self._widths or [0] * len(rows[0]), _widths(rows), strict=True)))
        _print_rows(rows, self._widths, self._indent)

    def _is_news(self, row: Json) -> bool:
        meta = row["object"]["metadata"]
        cells = [_cell(row["cells"][index]) for position, index in enumerate(self._columns) if position != self._age]
        key = meta.get("uid") or f"{meta.get('namespace')}/{meta.get('name')}"
        before = self._shown.get(key)
        self._shown[key] = cells
        return before != cells

    def _cells(self, row: Json) -> list[str]:
        cells = [_cell(row["cells"][index]) for index in self._columns]
        return [row["object"]["metadata"].get("namespace", ""), *cells] if self._with_namespace else cells


def print_columns(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Rows of text in columns; the last one is not padded."""
    clean_rows = [[_cell(cell) for cell in row] for row in rows]
    _print_rows(clean_rows, _widths(clean_rows), indent)


def _print_rows(rows: Iterable[Sequence[str]], widths: Sequence[int], indent: str = "") -> None:
    for row in rows:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        sys.stdout.write(f"{indent}{_GAP.join(padded).rstrip()}\n")
    sys.stdout.flush()


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _cell(value: Any) -> str:
    return " ".join(clean("" if value is None else str(value)).split("\n"))


def print_json(body: Any) -> None:
    sys.stdout.write(json.dumps(body, indent=4, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_yaml(body: Any) -> None:
    sys.stdout.write(to_yaml(body))
    sys.stdout.flush()


def to_yaml(body: Any) -> str:
    """YAML as a person would write it: block style, text of several lines as it is."""
    import io

    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter
    from ruamel.yaml.scalarstring import LiteralScalarString

    def literal(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: literal(item) for key, item in value.items()}
        if isinstance(value, list):
            return [literal(item) for item in value]
        return (
            LiteralScalarString(value) if isinstance(value, str) and "\n" in value and clean(value) == value else value
        )

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.Representer = RoundTripRepresenter
    text = io.StringIO()
    yaml.dump(literal(body), text)
    return text.getvalue()
