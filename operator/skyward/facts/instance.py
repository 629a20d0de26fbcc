"""What a provider reported about machines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from skyward.facts.health import Notice


class InstanceState(StrEnum):
    """Normal form of every provider's states (PROVIDERS: state mapping). Unknown strings become UNKNOWN: alive, ask again."""

    STARTING = "starting"
    UP = "up"
    LEAVING = "leaving"
    HALTED = "halted"
    PREEMPTED = "preempted"
    FAILED = "failed"
    GONE = "gone"
    UNKNOWN = "unknown"

    @property
    def is_lost(self) -> bool:
        """It will never serve again, whatever we wait; it may still have to be deleted."""
        return self in (InstanceState.HALTED, InstanceState.PREEMPTED, InstanceState.FAILED, InstanceState.GONE)


@dataclass(frozen=True, slots=True)
class Instance:
    """One machine at a provider, found by listing or by creating it."""

    provider: str
    id: str
    """The provider's id."""
    launch: str | None
    """Id of the launch it carries; None when the mark is unreadable."""
    state: InstanceState
    address: str = ""
    port: int = 22
    user: str = "root"
    host_key: str | None = None
    """Public key in OpenSSH form, when the driver can vouch for it."""
    created_at: float = 0.0
    """Seconds since 1970."""
    offering: str = ""
    region: str = ""
    zone: str = ""
    usd_per_hour: float = 0.0
    message: str = ""
    """Why the state is what it is, in the provider's words."""
    pool: str = ""
    """Key of the pool that it was made for, as it carries it; empty when the provider has no place for it."""
    epoch: int | None = None
    """The leadership that asked for it, as it carries it; None when the provider has no place for it."""
    host_id: str = ""
    """The physical host, where the provider names one."""
    notice: Notice | None = None
    """The provider announced that it takes it away."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything of ours that one provider has. Complete by construction: a listing that is not raises instead."""

    provider: str
    instances: tuple[Instance, ...]
    started_at: float
    ended_at: float
    """When the reading began and ended, seconds since 1970."""

    def find(self, instance_id: str) -> Instance | None:
        return next((instance for instance in self.instances if instance.id == instance_id), None)
