"""S1, S6, S9, S10, S12: what happens to machines, against the truth."""

from __future__ import annotations

from skyward.api import Node
from skyward.contracts import Verb
from skyward.planner import is_gone
from tests.simulation.checkers.base import Checker
from tests.simulation.checkers.launches import UNRESOLVED
from tests.simulation.cloud import Machine
from tests.simulation.process import Process
from tests.simulation.storing import Commit

_RUNAWAY = 3


class MachineChecker(Checker):
    def committed(self, commit: Commit) -> None:
        for change in commit.changes:
            node = change.object
            if isinstance(node, Node):
                if change.verb is Verb.DELETED or is_gone(node):
                    self._check_gone(node)
                else:
                    self._check_slot(node)
        for launch_id in commit.dropped:
            for machine in self.world.cloud.truth.made_by_launch.get(launch_id, ()):
                if self.world.cloud.is_alive(machine) and self.world.now < machine.delete_asked_at:
                    self.violate("S10", launch_id, f"its record was dropped while {machine.id} is alive")

    def delete_sent(self, process: Process, instance_id: str) -> None:
        machine = self.world.cloud.machines.get(instance_id)
        if machine is None or machine.owner != self.world.installation:
            self.violate("S9", instance_id, "a delete was sent for a machine that is not ours")
        node = self.world.records.bound.get(instance_id)
        if node is not None and node.metadata.deletion_timestamp is None:
            self.violate("S9", instance_id, f"a delete was sent although {node.key} stays")
        if node is None and machine is not None and not machine.extra:
            self._check_awaited(machine)

    def _check_awaited(self, machine: Machine) -> None:
        """What a call made whose answer is not known yet belongs to the nodes that wait for it."""
        launch = self.world.records.launches.get(machine.launch)
        if launch is not None and launch.state in UNRESOLVED:
            self.violate("S9", machine.id, f"a delete was sent while the outcome of {launch.id} is {launch.state}")

    def effect(self, what: str, machine: Machine) -> None:
        if what != "created":
            return
        wanted = self.world.desire.most_wanted(machine.pool_uid)
        alive = [one for one in self.world.cloud.alive.values() if one.pool_uid == machine.pool_uid]
        standing = [one for one in alive if self.world.now < min(one.delete_asked_at, one.lost_at)]
        if len(standing) > _RUNAWAY * (wanted + 1):
            self.violate("S12", machine.pool_uid, f"{len(standing)} machines for at most {wanted} wanted nodes")

    def _check_gone(self, node: Node) -> None:
        machine = self.world.cloud.machines.get(node.status.provider_id)
        if machine is not None and self.world.cloud.is_alive(machine):
            self.violate("S6", node.key, f"its record says gone, and {machine.id} is alive")

    def _check_slot(self, node: Node) -> None:
        if node.metadata.deletion_timestamp is not None or node.status.failure:
            return  # what has failed may be kept for a look; its place is free
        for other in self.world.records.nodes_of(node.spec.pool_uid):
            same = other.spec.slot == node.spec.slot and other.metadata.uid != node.metadata.uid
            if same and other.metadata.deletion_timestamp is None and not other.status.failure:
                self.violate("S1", node.key, f"stands in the slot of {other.key}")
