"""Kinds of provider, as capabilities: what its API promises, and how long things take there."""

from __future__ import annotations

from dataclasses import dataclass

from skyward.api import Json
from skyward.api.providers import plug_in
from skyward.contracts import DriverFacts, HostKeyTrust

PROVIDER = "local"
SHOPS = ("shop-a", "shop-b")
for _name in SHOPS:
    plug_in(_name)


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
    providers: tuple[str, ...] = (PROVIDER,)
    """Several of one kind: each has its own driver and listing, and the later ones are dearer."""

    @property
    def wish(self) -> Json:
        """Where pools are made, as their specs say it."""
        if self.providers == (PROVIDER,):
            return {"provider": PROVIDER}
        return {"providers": [{"name": name} for name in self.providers], "allocation": "spot-if-available"}

    def dearness(self, provider: str) -> float:
        return 1.0 + 0.2 * self.providers.index(provider)

    def facts(self, provider: str) -> DriverFacts:
        return DriverFacts(
            name=provider,
            same_host=False,
            has_token=self.has_token,
            visibility_s=self.visibility_s,
            absence_s=self.visibility_s + self.slowest_request_s,
            host_key_trust=HostKeyTrust.VOUCHED,
            resync_s=self.resync_s,
            max_count=self.max_count,
        )


_SHOPS = Profile("shops", False, 30.0, 60.0, 30.0, 4, (20.0, 90.0), (2.0, 30.0), providers=SHOPS)
DRAWN = {
    one.name: one
    for one in (
        Profile("local", True, 0.0, 60.0, 10.0, 100, (1.0, 5.0), (0.5, 2.0)),
        Profile("token", True, 60.0, 60.0, 30.0, 100, (15.0, 60.0), (5.0, 60.0), shows_gone_s=600.0),
        Profile("listed", False, 90.0, 60.0, 30.0, 10, (20.0, 90.0), (2.0, 30.0), undeletable_while_starting=True),
        Profile("market", False, 30.0, 60.0, 30.0, 1, (30.0, 180.0), (1.0, 10.0)),
    )
}
"""A seed draws one of these."""
PROFILES = {**DRAWN, _SHOPS.name: _SHOPS}
"""Those that have to be asked for, too: what a seed means stays what it was."""
