"""Kinds of provider, as capabilities: what its API promises, and how long things take there."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.contracts import DriverFacts, HostKeyTrust

PROVIDER = "local"
"""The name that manifests give: this version knows no other."""


@dataclass(frozen=True, slots=True)
class Profile:
    name: str
    has_token: bool
    visibility_s: float
    """No read is older than this."""
    slowest_request_s: float
    """No request arrives later than this after it was sent."""
    resync_s: float
    max_count: int
    boot_s: tuple[float, float]
    deletion_s: tuple[float, float]
    shows_gone_s: float = 0.0
    """A machine that is gone is listed, as gone, for so long."""
    undeletable_while_starting: bool = False

    @property
    def facts(self) -> DriverFacts:
        return DriverFacts(
            name=PROVIDER,
            same_host=False,
            has_token=self.has_token,
            visibility_s=self.visibility_s,
            absence_s=self.visibility_s + self.slowest_request_s,
            host_key_trust=HostKeyTrust.VOUCHED,
            resync_s=self.resync_s,
            max_count=self.max_count,
        )


PROFILES = {
    one.name: one
    for one in (
        Profile("local", True, 0.0, 60.0, 10.0, 100, (1.0, 5.0), (0.5, 2.0)),
        Profile("token", True, 60.0, 60.0, 30.0, 100, (15.0, 60.0), (5.0, 60.0), shows_gone_s=600.0),
        Profile("listed", False, 90.0, 60.0, 30.0, 10, (20.0, 90.0), (2.0, 30.0), undeletable_while_starting=True),
        Profile("market", False, 30.0, 60.0, 30.0, 1, (30.0, 180.0), (1.0, 10.0)),
    )
}
