"""Command lines as kubectl users write them: global options anywhere, `--wait=false` for a flag."""

from __future__ import annotations

from collections.abc import Sequence

_VALUED = ("--kubeconfig", "--namespace", "-n")
_FLAGS = ("--verbose", "-v")
_BOOLEANS = ("wait", "watch", "follow", "keep", "prefix", "all", "show-events", "all-namespaces", "no-headers", "raw")
_OWN_NEGATION = ("wait", "show-events")
"""Flags whose opposite is `--no-…`; others are simply left out."""
_WATCHES_BY_ITSELF = "rollout"
"""A verb whose `--watch` has an opposite too."""
_RUN_VALUED = ("-p", "--pool", "-c", "--code", "--timeout")


def normalized(argv: Sequence[str]) -> list[str]:
    """The same command with its global options first. What belongs to a script that `run` sends is left alone."""
    ours, theirs = _split(list(argv))
    negated = (*_OWN_NEGATION, *(("watch",) if _WATCHES_BY_ITSELF in ours else ()))
    front: list[str] = []
    rest: list[str] = []
    words = iter(ours)
    for word in words:
        name, separator, _ = word.partition("=")
        if word in _VALUED:
            front += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word in _FLAGS or (separator and name in _VALUED):
            front.append(word)
        else:
            rest += _boolean(word, negated)
    return [*front, *rest, *theirs]


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Ours, and what `run` hands to the script."""
    verb = _first_word(argv, 0, _VALUED)
    if verb is not None and argv[verb] == "run":
        script = _first_word(argv, verb + 1, (*_VALUED, *_RUN_VALUED))
        if script is not None:
            return argv[:script], argv[script:]
    return argv, []


def _first_word(argv: list[str], start: int, valued: Sequence[str]) -> int | None:
    index = start
    while index < len(argv):
        if not argv[index].startswith("-") or argv[index] in ("-", "--"):
            return index
        index += 2 if argv[index] in valued else 1
    return None


def _boolean(word: str, negated: Sequence[str]) -> list[str]:
    name, separator, value = word.removeprefix("--").partition("=")
    if not word.startswith("--") or not separator or name not in _BOOLEANS or value not in ("true", "false"):
        return [word]
    if value == "true":
        return [f"--{name}"]
    return [f"--no-{name}"] if name in negated else []
