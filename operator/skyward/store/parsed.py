"""Objects by the text of their rows. They are frozen, so the same text may be the same object, however often it is read: by
every controller that looks before it writes, and by every write that compares with what is stored."""

from __future__ import annotations

from typing import TypeVar, cast

from skyward.api import Object

O = TypeVar("O", bound=Object)  # noqa: E741
_KEPT = 2_000


class Parsed:
    """Used by one thread at a time. Keeps the newest texts; a text is the whole key, so nothing here can be out of date."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], Object] = {}

    def read(self, kind: type[O], body: str) -> O:
        key = (kind.KIND, body)
        known = self._objects.get(key)
        if known is None:
            if len(self._objects) >= _KEPT:
                del self._objects[next(iter(self._objects))]
            known = self._objects[key] = kind.model_validate_json(body)
        return cast(O, known)
