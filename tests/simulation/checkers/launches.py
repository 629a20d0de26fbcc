"""S1 to S5, per launch: intent before the call, identity in it, never two machines for one slot."""

from __future__ import annotations

from skyward.facts import Launch, LaunchRequest, LaunchState
from tests.simulation.checkers.base import Checker
from tests.simulation.cloud import Machine
from tests.simulation.process import Process
from tests.simulation.storing import Commit

UNRESOLVED = (LaunchState.PREPARED, LaunchState.SENT, LaunchState.UNKNOWN)


class LaunchChecker(Checker):
    def create_sent(self, process: Process, request: LaunchRequest) -> None:
        row = self.world.records.launches.get(request.launch)
        if row is None:
            self.violate("S2", request.launch, "a create call was sent without an intent on record")
        elif row.state is not LaunchState.SENT or row.request != request:
            self.violate("S2", request.launch, f"the intent on record is {row.state} or another request")
        if request.owner != self.world.installation or not request.launch:
            self.violate("S3", request.launch, f"the call does not carry our identity: {request.owner!r}")

    def create_arrives(self, process: Process, request: LaunchRequest) -> None:
        first = self.world.cloud.truth.requests.get(request.launch)
        if first is not None and first != request:
            self.violate("S5", request.launch, "the same identity was used for another request")
        if first is not None and not self.world.cloud.profile.has_token:
            self.violate("S5", request.launch, "a second call with an identity that this provider does not know")
        row = self.world.records.launches.get(request.launch)
        if row is None or row.state in (LaunchState.REJECTED, LaunchState.ABSENT):
            state = "forgotten" if row is None else str(row.state)
            self.violate("S5", request.launch, f"its create call arrives after the launch was {state}")

    def effect(self, what: str, machine: Machine) -> None:
        if what != "created" or machine.extra:
            return
        made = [*self.world.cloud.truth.made_by_launch.get(machine.launch, ()), machine]
        most = self.world.cloud.truth.requests[machine.launch].count
        if len(made) > most:
            self.violate("S1", machine.launch, f"{len(made)} machines were made for {most} slots")

    def committed(self, commit: Commit) -> None:
        for before, launch in commit.launches:
            if before is None:
                self._check_alone(launch)
            self._check_verdict(launch)

    def _check_alone(self, launch: Launch) -> None:
        """While a slot's launch is unresolved nobody else may launch for it."""
        for other in self.world.records.launches.values():
            if other.id != launch.id and other.state in UNRESOLVED and set(other.nodes) & set(launch.nodes):
                self.violate("S5", launch.id, f"launched while the outcome of {other.id} is {other.state}")

    def _check_verdict(self, launch: Launch) -> None:
        made = self.world.cloud.truth.made_by_launch.get(launch.id, ())
        if launch.state is LaunchState.REJECTED and made:
            self.violate("S4", launch.id, f"recorded as rejected, and it made {made[0].id}")
        hidden = [one.id for one in made if self.world.cloud.is_alive(one) and one.id not in self.world.records.bound]
        if launch.state is LaunchState.ABSENT and hidden and not self._was_misled(launch):
            self.violate("S4", launch.id, f"recorded as absent, and it made {hidden[0]}")

    def _was_misled(self, launch: Launch) -> bool:
        """Absence is proved by what the driver declares: a listing since its call that left something out broke that word. What
        shows up late is bound or deleted all the same."""
        return self.world.cloud.lied_at > launch.sent_at
