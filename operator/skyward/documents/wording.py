"""What is wrong with a value, in plain words: the validator's findings rewritten for someone who edits a manifest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of sensible size",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_PATTERNS = {
    "^[A-Za-z_]": "the name of an environment variable (letters, digits and '_', no digit first)",
    "^3\\.": "a minor version from '3.11' on, like '3.12'",
    "^0?[0-7]": "a file mode like '0644'",
}
_SHOWN_CHARACTERS = 60


def explain(errors: Sequence[ErrorDetails]) -> str:
    """One sentence for everything found at one place: several findings are the branches of a choice."""
    whole = next((text for error in errors if (text := _sentence(error))), None)
    if whole is not None:
        return whole
    expected = list(dict.fromkeys(_expected(error) for error in errors))
    if expected == ["a whole number", "text"]:
        expected = ["a whole number", "a percentage like '25%'"]
    given = errors[0]["input"]
    return f"must be {' or '.join(expected)}{but_is(given)}{_quoting(expected, given)}"


def but_is(given: Any) -> str:
    return ", but is empty" if given is None else f", not {show(given)}"


def unknown(name: str, known: Iterable[str], what: str = "field") -> str:
    """There is no such thing; the nearest that exists, or all that exist."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6) or [
        known_name for known_name in names if known_name.lower() == name.replace("_", "").replace("-", "").lower()
    ]
    if near:
        return f"there is no {what} {show(name)}; did you mean {near[0]!r}?"
    return f"there is no {what} {show(name)}; known: {', '.join(names)}"


def show(value: Any) -> str:
    """A value as the user would recognise it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…")
    return str(value)


def _sentence(error: ErrorDetails) -> str | None:
    """Findings that say it all by themselves."""
    match error["type"]:
        case "missing":
            return "is required"
        case "value_error":
            return str(error["ctx"]["error"])
        case "string_pattern_mismatch":
            pattern = error["ctx"]["pattern"]
            wanted = next((text for start, text in _PATTERNS.items() if pattern.startswith(start)), f"like {pattern}")
            return f"must be {wanted}{but_is(error['input'])}"
        case _:
            return None


def _expected(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case "literal_error":
            return str(context["expected"])
        case "too_short":
            return f"a list of at least {context['min_length']}"
        case kind if kind in _EXPECTED:
            return _EXPECTED[kind]
        case _:
            return error["msg"].removeprefix("Input should be ")


def _quoting(expected: list[str], given: Any) -> str:
    return "; put it in quotes" if expected == ["text"] and isinstance(given, int | float) else ""
