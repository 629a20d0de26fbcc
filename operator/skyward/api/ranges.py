"""Quantities of what a machine has, as users ask for them: `8`, `8+`, `24GB..80GB`.

A plain quantity asks for at least so much, as `8+` does; only `..` bounds from above.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from skyward.api.quantities import parse_size

_COUNT = re.compile(r"\d{1,6}(?:\.\d+)?")
_MONEY = re.compile(r"\d{1,6}(?:\.\d{1,6})?")


@dataclass(frozen=True, slots=True)
class Range:
    least: float
    most: float | None = None
    is_plain: bool = False
    """One quantity was given and no range."""

    def holds(self, value: float) -> bool:
        return self.least <= value and (self.most is None or value <= self.most)

    @property
    def limit(self) -> float | None:
        """What it bounds where it stands for a limit: a plain quantity is one, an open range is none."""
        return self.least if self.is_plain else self.most


def parse_range(text: str, parse: Callable[[str], float], wanted: str) -> Range:
    """Raises ValueError, saying what was wanted, for what is neither a quantity nor a range of them."""
    low, dots, high = (part.strip() for part in text.strip().partition(".."))
    try:
        if dots:
            found = Range(parse(low) if low else 0.0, parse(high) if high else None)
        elif low.endswith("+"):
            found = Range(parse(low[:-1].strip()))
        else:
            found = Range(parse(low), is_plain=True)
    except ValueError:
        found = None
    if found is None or (dots and not low and not high) or (found.most is not None and found.most < found.least):
        raise ValueError(f"{text!r} is not {wanted}")
    return found


def parse_counts(text: str) -> Range:
    return parse_range(text, _count, "a number or a range: write it like 8, 8+ or 4..16")


def parse_sizes(text: str) -> Range:
    return parse_range(
        text, parse_size, "a size: write it like 512MB, 24GB or 2GiB, or as a range like 24GB+ or 24GB..80GB"
    )


def parse_money(text: str) -> float:
    """US dollars. Raises ValueError."""
    if not _MONEY.fullmatch(text) or float(text) <= 0:
        raise ValueError(f"{text!r} is not an amount of US dollars: write it like 0.45 or 2.50")
    return float(text)


def _count(text: str) -> float:
    if not _COUNT.fullmatch(text):
        raise ValueError(text)
    return float(text)


def as_text(value: Any) -> Any:
    """A number that YAML has read is meant as it was written."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


_NUMBER_OR_TEXT = {"anyOf": [{"type": "number"}, {"type": "string"}]}
Counts = Annotated[
    str,
    BeforeValidator(as_text),
    _checked(parse_counts),
    WithJsonSchema({**_NUMBER_OR_TEXT, "examples": [8, "8+", "4..16"]}),
]
Sizes = Annotated[
    str, _checked(parse_sizes), WithJsonSchema({"type": "string", "examples": ["24GB", "24GB+", "24GB..80GB"]})
]
Money = Annotated[
    str, BeforeValidator(as_text), _checked(parse_money), WithJsonSchema({**_NUMBER_OR_TEXT, "examples": ["2.50"]})
]
