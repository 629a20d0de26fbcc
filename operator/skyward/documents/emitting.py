"""Values as YAML text: block style for people, flow style for one line. What any YAML reader might take for something
else than text is quoted."""

from __future__ import annotations

import re
from typing import Any

from skyward.documents.composing import resolve

INDENT = 2
_PLAIN = re.compile(r"[A-Za-z_/](?:[!$%&()*+./0-9;<=>?@A-Z^_a-z|~-]|:(?=[0-9A-Za-z_./])| (?=[^\s#]))*")
_MEASURE = re.compile(r"([1-9][0-9]*[A-Za-z]+)+")
"""Durations and sizes: they begin like a number and need no quotes all the same."""
_OLD_BOOLS = frozenset({"y", "n", "yes", "no", "on", "off"})
"""Text in YAML 1.2, but booleans for older readers."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_BREAKS = frozenset("\x85\u2028\u2029\ufeff")


def scalar(value: Any, style: str = "") -> str:
    """On one line, valid everywhere. `style` is the quote that text should keep if it had one."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return repr(value)
    text = str(value)
    if style == "'" and _is_printable(text) and "\n" not in text and "\t" not in text:
        return "'" + text.replace("'", "''") + "'"
    return text if style != '"' and _is_plain(text) else _quoted(text)


def flow(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{scalar(key)}: {flow(part)}" for key, part in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(flow(part) for part in value) + "]"
        case _:
            return scalar(value)


def block(value: Any, column: int) -> list[str]:
    """Lines of a mapping or list, each indented to `column`, without line ends. Neither may be empty."""
    margin = " " * column
    if isinstance(value, dict):
        return [line for key, part in value.items() for line in _attached(f"{margin}{scalar(key)}:", part, column)]
    return [line for item in value for line in _item(item, column)]


def literal(text: str, column: int) -> list[str] | None:
    """Lines of a block scalar for text of several lines, its sign first; None where only quotes keep the text as it is."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    fits = body.strip() and not body.startswith((" ", "\n")) and not body.endswith("\n") and "\n" in text
    if not fits or not all(_is_printable(line) for line in lines):
        return None
    sign = "|" if text.endswith("\n") else "|-"
    return [sign, *(f"{' ' * column}{line}" if line else "" for line in lines)]


def _attached(lead: str, value: Any, column: int) -> list[str]:
    """The lines of a value behind its key."""
    if isinstance(value, dict | list | tuple) and value:
        return [lead, *block(value, column + INDENT)]
    if isinstance(value, str) and (lines := literal(value, column + INDENT)) is not None:
        return [f"{lead} {lines[0]}", *lines[1:]]
    return [f"{lead} {flow(value)}"]


def _item(value: Any, column: int) -> list[str]:
    margin = " " * column
    if isinstance(value, dict) and value:
        first, *rest = block(value, column + INDENT)
        return [f"{margin}- {first[column + INDENT :]}", *rest]
    if isinstance(value, list | tuple) and value:
        return [f"{margin}- {flow(value)}"]
    return _attached(f"{margin}-", value, column)


def _is_plain(text: str) -> bool:
    if not (_PLAIN.fullmatch(text) or _MEASURE.fullmatch(text)) or text.lower() in _OLD_BOOLS:
        return False
    try:
        return isinstance(resolve(text), str)
    except ValueError:
        return False


def _is_printable(text: str) -> bool:
    return all(character.isprintable() or character == "\t" for character in text)


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable() and character not in _BREAKS:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
