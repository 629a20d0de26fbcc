"""Offerings: what a provider would sell now, where, for how much, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skyward.facts.accelerators import Accelerator

ON_DEMAND = "on-demand"
SPOT = "spot"


class Supply(StrEnum):
    UNKNOWN = "unknown"
    """The provider does not tell; only a create call does."""
    AVAILABLE = "available"
    NONE = "none"
    """The provider says that there is none now."""


@dataclass(frozen=True, slots=True)
class Offering:
    """An instance type in a place, with its price. What a provider does not tell is None, or empty."""

    provider: str
    name: str
    """The provider's own word for the type."""
    region: str = ""
    zone: str = ""
    capacity_type: str = ON_DEMAND
    usd_per_hour: float = 0.0
    """Of the whole machine."""
    host_id: str = ""
    """The host that it is on, where an offering is one host's."""
    accelerator: Accelerator | None = None
    """None: it has no whole one."""
    vcpus: float | None = None
    memory_gb: float | None = None
    """Of 1,000³ bytes, as disk is."""
    disk_gb: float | None = None
    """Most that can be asked for."""
    arch: str = ""
    """`x86_64` or `arm64`."""
    supply: Supply = Supply.UNKNOWN
    priced_at: float = 0.0
    """When the provider was asked for the price, seconds since 1970; 0 where it was told with the rest."""
    note: str = ""
    """What to know before it is believed, as `price of a bundled list of 2026-11`."""

    @property
    def id(self) -> str:
        """What cool-downs and decisions call it: the same type in the same place, of the same capacity type."""
        return "/".join(part for part in (self.provider, self.region, self.zone, self.name, self.capacity_type) if part)
