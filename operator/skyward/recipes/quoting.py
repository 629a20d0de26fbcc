"""The one way a value gets into a script."""

from __future__ import annotations

import re

from skyward.errors import Invalid

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def quote(text: str, field: str = "value") -> str:
    """One shell word that means exactly this text, whatever it holds. Raises Invalid for what no shell can hold: NUL
    characters and halves of surrogate pairs."""
    if "\0" in text:
        raise _refused(field, "holds a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _refused(field, "is not valid Unicode text; rewrite it") from error
    return "'" + text.replace("'", "'\\''") + "'"


def check_env_name(name: str, field: str) -> str:
    """Raises Invalid unless a shell can export a variable of this name."""
    if not _ENV_NAME.fullmatch(name):
        raise _refused(field, f"{name!r} is no name of an environment variable: use letters, digits and _")
    return name


def _refused(field: str, why: str) -> Invalid:
    return Invalid(f"{field}: {why}", ((field, why),))
