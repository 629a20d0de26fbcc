"""What the provider part of a Pool's spec has in common, whichever provider it names."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from skyward.api.base import Json, Word

KNOWN = ("local", "container", "ssh", "aws", "digitalocean", "vastai", "verda")
"""Every provider that has a name; the ones that this version does not support are refused by name."""
PlaceName = Annotated[str, Field(min_length=1, max_length=100)]


class ProviderOptions(Word):
    """Base of each driver's own options."""


class ProviderSpec(Word):
    name: str
    region: PlaceName | None = None
    """Only there; everywhere that the provider's options allow, when absent."""
    zone: PlaceName | None = None
    """Only there; in all zones of the region, when absent."""
    weight: Annotated[int, Field(ge=0, le=1000)] = 0
    """Breaks ties between equally priced places; higher first."""

    def to_entry(self) -> Json:
        """As a template holds it: without what is at its default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def covers(self, provider: str, region: str, zone: str) -> bool:
        """Whether something of this provider, there, is within this place."""
        return self.name == provider and self.region in (None, region) and self.zone in (None, zone)
