"""Event: a record for users of what happened to an object and why. Repeats are counted, not added."""

from __future__ import annotations

from typing import ClassVar, Literal

from skyward.api.base import Time, Word
from skyward.api.conditions import Reason
from skyward.api.meta import Object


class ObjectReference(Word):
    kind: str
    namespace: str
    name: str
    uid: str = ""


class Event(Object):
    KIND: ClassVar[str] = "Event"
    PLURAL: ClassVar[str] = "events"
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ("ev",)

    kind: Literal["Event"] = "Event"
    regarding: ObjectReference
    type: Literal["Normal", "Warning"] = "Normal"
    reason: Reason
    note: str
    action: str = ""
    count: int = 1
    first_time: Time
    last_time: Time
