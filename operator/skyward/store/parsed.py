"""Objects by the text of their rows. They are frozen, so the same text may be the same object, however often it is read: by
every controller that looks before it writes, and by every write that compares with what is stored. What was written is
kept as the writer gave it, which is the object that all caches have: memory holds one copy of a row."""

from __future__ import annotations

from typing import TypeVar, cast

from skyward.api import Event, Node, Object

O = TypeVar("O", bound=Object)  # noqa: E741
_KEPT = 2_000
_KEPT_NODES = 20_000
"""They are all in memory anyway."""


class Parsed:
    """Used by one thread at a time. Keeps the newest text of each object; an object counts for its very text alone, so nothing
    here can be out of date, not even after a transaction that was rolled back."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, tuple[str, Object]]] = {}

    def read(self, kind: type[O], key: str, body: str) -> O:
        """The object of this kind and key (`namespace/name`) that this text says."""
        text, known = self._of(kind.KIND).get(key, (None, None))
        if text == body:
            return cast(O, known)
        obj = kind.model_validate_json(body)
        self._keep(kind.KIND, key, obj, body)
        return obj

    def keep(self, obj: Object, body: str) -> None:
        """This text was made from that object. Events are many, and hardly ever read again."""
        if obj.kind != Event.KIND:
            self._keep(obj.kind, obj.key, obj, body)

    def _keep(self, kind: str, key: str, obj: Object, body: str) -> None:
        known = self._of(kind)
        if known.pop(key, None) is None and len(known) >= (_KEPT_NODES if kind == Node.KIND else _KEPT):
            del known[next(iter(known))]
        known[key] = (body, obj)

    def _of(self, kind: str) -> dict[str, tuple[str, Object]]:
        return self._objects.setdefault(kind, {})

    def forget(self, obj: Object) -> None:
        """It was deleted."""
        self._of(obj.kind).pop(obj.key, None)
