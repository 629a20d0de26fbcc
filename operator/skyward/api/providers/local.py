"""The local provider: nodes are directories and processes of this host."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from skyward.api.base import Word
from skyward.api.providers.base import ProviderOptions, ProviderSpec
from skyward.api.quantities import Duration

LOCAL = "local"


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


class LocalOptions(ProviderOptions):
    faults: LocalFaults = LocalFaults()


class LocalProvider(ProviderSpec):
    name: Literal["local"]
    options: LocalOptions = LocalOptions()

    @model_validator(mode="before")
    @classmethod
    def _no_places_on_this_host(cls, data: Any) -> Any:
        for field in ("region", "zone"):
            if isinstance(data, dict) and data.get(field) is not None:
                raise ValueError(f"{field}: the local provider has no regions or zones; leave it out")
        return data
