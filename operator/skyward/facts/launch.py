"""Launches: the intent of one create call, its request and its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from skyward.api import Json
from skyward.errors import ProviderError
from skyward.facts.health import HostFailure
from skyward.facts.instance import Instance
from skyward.facts.offering import Offering


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """The argument of `create`: a replay of the same launch is identical byte for byte."""

    launch: str
    """The identity that rides in the call."""
    owner: str
    """This installation's uid: marks the instance as ours."""
    pool_uid: str
    pool: str
    """`namespace/name`, for people who look at the provider's console."""
    count: int
    offering: Offering
    authorized_key: str
    """Our public key, OpenSSH form."""
    options: Json = field(default_factory=dict)
    """The driver's own part of the spec (`options` of the provider)."""
    epoch: int = 0
    """The leadership that asks. Rides in the call where the provider has a place for it."""
    avoid_hosts: tuple[str, ...] = ()
    """Hosts that nothing is to be made on, as far as the provider lets us choose."""


@dataclass(frozen=True, slots=True)
class LaunchOutcome:
    """What a create call made. Fewer instances than asked is an answer, not an error."""

    instances: tuple[Instance, ...]
    rejected: ProviderError | None = None
    """Why the rest was not made: a proof, never a guess."""


class LaunchState(StrEnum):
    PREPARED = "prepared"
    SENT = "sent"
    UNKNOWN = "unknown"
    BOUND = "bound"
    """The call answered; its instances are bound to slots."""
    REJECTED = "rejected"
    """The provider proved that it made nothing."""
    ABSENT = "absent"
    """Listings proved that nothing was made; the identity stays in the sweep as a tombstone."""


LAUNCH_TRANSITIONS: dict[LaunchState, frozenset[LaunchState]] = {
    LaunchState.PREPARED: frozenset({LaunchState.SENT}),
    LaunchState.SENT: frozenset({LaunchState.SENT, LaunchState.UNKNOWN, LaunchState.BOUND, LaunchState.REJECTED}),
    LaunchState.UNKNOWN: frozenset({LaunchState.SENT, LaunchState.UNKNOWN, LaunchState.BOUND, LaunchState.ABSENT}),
    LaunchState.BOUND: frozenset({LaunchState.BOUND}),
    LaunchState.REJECTED: frozenset({LaunchState.REJECTED}),
    LaunchState.ABSENT: frozenset({LaunchState.BOUND, LaunchState.ABSENT}),
}
"""Only a documented rejection leads to REJECTED; an instance that shows up late binds even an ABSENT launch. Staying in a
state is for what else is on record: a tombstone's date, a time that was corrected."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One intent row, committed before its create call."""

    id: str
    pool_uid: str
    request: LaunchRequest
    nodes: tuple[str, ...]
    """Keys (`namespace/name`) of the nodes whose slots it fills; returned instances are interchangeable."""
    state: LaunchState
    attempts: int
    """Create calls sent with this identity."""
    created_at: float
    sent_at: float = 0.0
    instances: tuple[str, ...] = ()
    """Provider ids ever seen for it."""
    message: str = ""
    gone_at: float = 0.0
    """Since when nothing needs it and no listing shows anything of it: a tombstone, by which an instance that appears late
    is known as ours. 0 while it is needed."""
    host_failures: tuple[HostFailure, ...] = ()
    """What those of its nodes whose records are gone said against the hosts that they ran on."""
