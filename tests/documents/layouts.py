"""Random YAML layouts of a given value: block and flow style, quotes, comments, blank lines, indents."""

from __future__ import annotations

import json
import random
from typing import Any


def lay_out(value: dict[str, Any], chance: random.Random) -> str:
    """One document that says the value, written as some person might."""
    text, deepest = "", 6
    for line in _mapping(value, 0, chance):
        text += _noise(chance, deepest) + line
        # Below a block scalar an indented remark would be part of its text.
        deepest = 1 if line.count("\n") > 1 else 6
    return text


def _noise(chance: random.Random, deepest: int) -> str:
    match chance.randrange(12):
        case 0:
            return "\n"
        case 1:
            return f"{' ' * chance.randrange(deepest)}# remark {chance.randrange(1000)}: {{not}} [data]\n"
        case _:
            return ""


def _comment(chance: random.Random) -> str:
    return f"{' ' * chance.randint(1, 3)}# note {chance.randrange(1000)}" if chance.random() < 0.3 else ""


def _mapping(value: dict[str, Any], column: int, chance: random.Random) -> list[str]:
    return [line for key, part in value.items() for line in _entry(_key(key, chance), part, column, chance)]


def _entry(key: str, part: Any, column: int, chance: random.Random) -> list[str]:
    margin = " " * column
    is_block = isinstance(part, dict | list) and part and chance.random() < 0.7
    if is_block and isinstance(part, dict):
        inner = column + chance.choice((1, 2, 4))
        return [f"{margin}{key}:{_comment(chance)}\n", *_mapping(part, inner, chance)]
    if is_block:
        inner = column + chance.choice((0, 2))
        return [f"{margin}{key}:{_comment(chance)}\n", *_items(part, inner, chance)]
    if (
        isinstance(part, str)
        and "\n" in part
        and part.strip()
        and part[0] not in " \n"
        and not part.endswith("\n\n")
        and chance.random() < 0.7
    ):
        return _literal(margin, key, part, column, chance)
    return [f"{margin}{key}:{' ' * chance.randint(1, 2)}{_flow(part, chance)}{_comment(chance)}\n"]


def _literal(margin: str, key: str, part: str, column: int, chance: random.Random) -> list[str]:
    sign = "|" if part.endswith("\n") else "|-"
    body = part.removesuffix("\n").split("\n")
    lines = [f"{' ' * (column + 2)}{line}\n" if line else "\n" for line in body]
    return ["".join([f"{margin}{key}: {sign}{_comment(chance)}\n", *lines])]


def _items(items: list[Any], column: int, chance: random.Random) -> list[str]:
    lines: list[str] = []
    for item in items:
        if isinstance(item, dict) and item and chance.random() < 0.7:
            first, *rest = _mapping(item, column + 2, chance)
            lines.extend([f"{' ' * column}- {first[column + 2 :]}", *rest])
        else:
            lines.append(f"{' ' * column}- {_flow(item, chance)}{_comment(chance)}\n")
    return lines


def _flow(value: Any, chance: random.Random) -> str:
    gap = chance.choice(("", " "))
    if isinstance(value, dict):
        return (
            "{" + gap + ("," + " ").join(f"{_key(k, chance)}: {_flow(v, chance)}" for k, v in value.items()) + gap + "}"
        )
    if isinstance(value, list):
        return "[" + gap + f",{gap}".join(_flow(item, chance) for item in value) + gap + "]"
    return _text(value, chance) if isinstance(value, str) else json.dumps(value)


def _text(value: str, chance: random.Random) -> str:
    style = chance.randrange(3)
    if style == 0 and value.isalpha() and value.lower() not in {"null", "true", "false"}:
        return value
    if style == 1 and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)


def _key(key: str, chance: random.Random) -> str:
    return key if chance.random() < 0.9 else json.dumps(key)
