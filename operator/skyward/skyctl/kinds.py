"""Kinds as people write them: `pool`, `pools`, `sn`, `pool/hello`, `pools,nodes`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from skyward.errors import UserError

_GROUP = "skyward.dev"


@dataclass(frozen=True, slots=True)
class Kind:
    plural: str
    kind: str
    aliases: tuple[str, ...]

    @property
    def singular(self) -> str:
        return self.kind.lower()

    def ref(self, name: str) -> str:
        """As kubectl writes an object: `pool.skyward.dev/hello`."""
        return f"{self.singular}.{_GROUP}/{name}"


POOLS = Kind("pools", "Pool", ())
NODES = Kind("nodes", "Node", ("sn",))
TASKS = Kind("tasks", "Task", ())
SOURCES = Kind("sources", "Source", ("src",))
EVENTS = Kind("events", "Event", ("ev",))
KINDS = (POOLS, NODES, TASKS, SOURCES, EVENTS)
_ALL = "all"
"""What a user looks after, as in `kubectl get all`."""
_IN_ALL = (POOLS, NODES, TASKS)
_BY_WORD = {word: kind for kind in KINDS for word in (kind.plural, kind.singular, *kind.aliases)}

Target = tuple[Kind, str | None]


def kind_of(word: str) -> Kind:
    found = _BY_WORD.get(word.lower().removesuffix(f".{_GROUP}"))
    if found is None:
        near = difflib.get_close_matches(word.lower(), _BY_WORD, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"there is no kind {word!r}{hint} (kinds: {', '.join(kind.plural for kind in KINDS)})")
    return found


def targets(words: Sequence[str]) -> list[Target]:
    """What `KIND`, `KIND,KIND`, `KIND NAME…` or `KIND/NAME…` mean. A name of None is the whole kind."""
    if not words:
        raise UserError("say what: KIND, KIND NAME or KIND/NAME, like pools, pool hello or pool/hello")
    if any("/" in word for word in words):
        return [_pair(word) for word in words]
    kinds = [kind for word in words[0].split(",") if word for kind in (_IN_ALL if word == _ALL else (kind_of(word),))]
    if len(words) == 1:
        return [(kind, None) for kind in kinds]
    return [(kind, name) for kind in kinds for name in words[1:]]


def named(words: Sequence[str]) -> list[tuple[Kind, str]]:
    """Like `targets`, where each must have a name."""
    found = targets(words)
    for kind, name in found:
        if name is None:
            raise UserError(f"say which {kind.singular}: {kind.singular} NAME or {kind.singular}/NAME")
    return [(kind, name) for kind, name in found if name is not None]


def _pair(word: str) -> Target:
    kind, separator, name = word.partition("/")
    if not separator or not name or "/" in name:
        raise UserError(f"{word!r} is not KIND/NAME, like pool/hello")
    return kind_of(kind), name
