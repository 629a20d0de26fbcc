"""The driver: the plug for one provider. No waiting, no loop, no knowledge of pools inside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from skyward.api import Json
from skyward.facts import Instance, LaunchOutcome, LaunchRequest, Listing, Offering


class HostKeyTrust(StrEnum):
    VOUCHED = "vouched"
    """The driver knows the key before the first connection."""
    FIRST_CONTACT = "first-contact"
    """The key can only be pinned when it is first seen."""


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """What a driver declares about its provider."""

    name: str
    same_host: bool
    """Nodes reach the operator over loopback."""
    has_token: bool
    """A replay of the identical create call answers with the same instances; others may only be resolved by listing."""
    visibility_s: float
    """Longest time a created instance may be missing from a listing."""
    absence_s: float
    """How long an identity must stay unseen before it is proved absent."""
    host_key_trust: HostKeyTrust
    resync_s: float = 30.0
    """How often the listing is read when nothing asks for it."""
    max_count: int = 100
    """Most instances that one create call makes."""


class Driver(Protocol):
    """Every method is idempotent. Errors are the ProviderError classes; anything ambiguous is OutcomeUnknown (create) or
    ProviderUnavailable (all others), never a guess."""

    @property
    def facts(self) -> DriverFacts: ...

    async def offerings(self, options: Json) -> tuple[Offering, ...]:
        """What could be launched now, with prices. `options` are the driver's own of the manifest, together with `region` and
        `zone` where the manifest names them; `create` is given the same. Read from the provider as often as each kind of news
        is due (`skyward.kit.aged`), and never guessed: what the provider does not tell stays unknown."""
        ...

    async def create(self, request: LaunchRequest) -> LaunchOutcome:
        """Make `count` instances that carry the launch's id from their first second. Raises LaunchRejected when it is proved
        that none was made, OutcomeUnknown when that is not known, RateLimited when the call was refused unread."""
        ...

    async def get(self, instance_id: str) -> Instance:
        """Raises InstanceNotFound, which is no proof that it is gone."""
        ...

    async def list(self, owner: str) -> Listing:
        """All instances that carry this owner's mark, or an error; never a part."""
        ...

    async def delete(self, instance_id: str) -> None:
        """Ask for deletion. Returns when the provider took the request (or knows no such id); repeat until the listing proves
        it gone. Raises NotYet while the provider refuses."""
        ...

    def drifted(self, instance: Instance, template: Json) -> str | None:
        """Pure: why this instance no longer matches the template it was made from, or None."""
        ...

    async def close(self) -> None: ...
