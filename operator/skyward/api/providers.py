"""Where machines come from: the provider part of a Pool's spec, with each driver's own options."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from skyward.api.base import Word
from skyward.api.quantities import Duration

LOCAL = "local"
SUPPORTED = (LOCAL,)
KNOWN = (LOCAL, "container", "ssh", "aws", "digitalocean", "vastai", "verda")
"""Every provider that has a name; the ones not in SUPPORTED are refused by name."""


class LocalFaults(Word):
    """Misbehaviour of the local driver, to rehearse what clouds do. Counts are per pool."""

    slow_boot: Duration | None = None
    """Each node's SSH server starts this much later."""
    failed_creates: Annotated[int, Field(ge=0)] = 0
    """So many first create calls are rejected for lack of capacity."""
    lost_replies: Annotated[int, Field(ge=0)] = 0
    """So many first create calls do their work and then lose the answer."""
    spot_loss_after: Duration | None = None
    """Each node is taken away this long after it came up, as a spot instance is."""
    spot_notice: Duration | None = None
    """Each node's loss is announced this long before it happens."""

    @model_validator(mode="after")
    def _announces_a_loss(self) -> LocalFaults:
        if self.spot_notice is not None and self.spot_loss_after is None:
            raise ValueError("faults.spotNotice announces a loss: it needs faults.spotLossAfter")
        return self


class LocalOptions(Word):
    faults: LocalFaults = LocalFaults()


class ProviderSpec(Word):
    name: str
    weight: Annotated[int, Field(ge=0, le=1000)] = 0
    """Breaks ties between equally priced places; higher first."""
    options: LocalOptions = LocalOptions()
    """Typed by each driver."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name in SUPPORTED:
            return name
        if name in KNOWN:
            raise ValueError(f"provider {name!r} is not supported by this version; supported: {', '.join(SUPPORTED)}")
        raise ValueError(f"there is no provider {name!r}; supported: {', '.join(SUPPORTED)}")

    @model_validator(mode="before")
    @classmethod
    def _no_places_on_this_host(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name") == LOCAL:
            for field in ("region", "zone"):
                if field in data:
                    raise ValueError(f"{field}: the local provider has no regions or zones; leave it out")
        return data
