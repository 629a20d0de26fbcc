"""What every word of the API has in common: camelCase outside, frozen inside, unknown fields refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

GROUP = "skyward.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Json = dict[str, Any]
"""A JSON object at the border of a room; inside, words and facts are used instead."""

Time = AwareDatetime


def to_time(unix_s: float) -> datetime:
    """Seconds since 1970 as the API writes a time: UTC, whole seconds."""
    return datetime.fromtimestamp(int(unix_s), tz=UTC)


class Word(BaseModel):
    """Base of all API models. Two equal words are interchangeable; a change makes a new one."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        ser_json_timedelta="iso8601",
    )

    def to_json(self) -> Json:
        """The object as the API sends it: camelCase, without fields that are absent."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed; the values are taken as they are."""
        return self.model_copy(update=changes)
