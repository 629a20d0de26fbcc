"""What a checker may look at, and how it complains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skyward.facts import LaunchRequest, Listing
from tests.simulation.cloud import Machine
from tests.simulation.process import Process
from tests.simulation.storing import Commit

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    """Its number in the list of invariants."""
    at_s: float
    """Seconds since the run began."""
    about: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.at_s:.1f} s, {self.about}: {self.message}"


class Checker:
    """Every hook is optional."""

    def __init__(self, world: World) -> None:
        self.world = world

    def violate(self, rule: str, about: str, message: str) -> None:
        self.world.violate(rule, about, message)

    def committed(self, commit: Commit) -> None: ...

    def create_sent(self, process: Process, request: LaunchRequest) -> None: ...

    def create_arrives(self, process: Process, request: LaunchRequest) -> None: ...

    def delete_sent(self, process: Process, instance_id: str) -> None: ...

    def delete_arrives(self, process: Process, instance_id: str) -> None: ...

    def listed(self, process: Process, listing: Listing) -> None: ...

    def effect(self, what: str, machine: Machine) -> None: ...

    def restored(self) -> None:
        """The records are older ones, or none: what was known of them is over. Nobody runs."""
        self.__init__(self.world)  # type: ignore[misc]

    def announced(self, machine: Machine) -> None:
        """Its provider will take it, and says so."""

    def agent_welcomed(self, node_uid: str, instance_id: str) -> None: ...

    def incarnation_welcomed(self, node_uid: str, incarnation: str) -> None: ...

    def died(self, process: Process, cause: str) -> None: ...

    def is_done(self) -> bool:
        """In the quiet phase: nothing more will happen that this checker waits for."""
        return True

    def settled(self) -> None:
        """The quiet phase is over."""

    def quiet(self, is_quiet: bool) -> None:
        """From now on nothing happens, and nothing may be done; or that is over."""

    def drained(self) -> None:
        """Every pool was deleted and had its time."""
