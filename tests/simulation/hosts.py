"""The inside of every machine: what SSH left on its disk, and which agents run on it, whatever anybody believes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skyward_agent.wire.messages import AttemptId, Report
from tests.simulation.agent import SimAgent
from tests.simulation.process import Process
from tests.simulation.wire import Connection

if TYPE_CHECKING:
    from tests.simulation.world import World


_TCP_PATIENCE_S = 60.0
"""A shorter interruption breaks no connection."""


@dataclass(slots=True)
class Disk:
    """What survives the agent's process, and a reboot."""

    node: str = ""
    """Uid of the node that this machine was made into."""
    join_token: str = ""
    credential: str = ""
    spool: dict[AttemptId, Report] = field(default_factory=dict)


class Host:
    def __init__(self, world: World, instance_id: str) -> None:
        self.instance_id = instance_id
        self.disk = Disk()
        self.agents: list[SimAgent] = []
        """Those that run; more than one only after a disk was cloned."""
        self.boot = 1
        self.is_cut_off = False
        self.tunnel: Process | None = None
        """The operator that holds the way from here to its listener."""
        self.is_booting = False
        self.broken = asyncio.Event()
        """Every connection to it broke since somebody last reached it."""
        self._world = world

    @property
    def is_up(self) -> bool:
        return self._world.cloud.runs(self.instance_id) and not self.is_booting

    @property
    def is_reachable(self) -> bool:
        return self.is_up and not self.is_cut_off

    @property
    def is_first_start(self) -> bool:
        """Nobody has ever heard of an agent here."""
        return not self.disk.credential

    @property
    def serves(self) -> bool:
        """It does what a ready node does, whatever records say: its one agent is there, and an operator hears it."""
        return self.is_reachable and len(self.agents) == 1 and self.agents[0].is_heard

    # --- what SSH does -----------------------------------------------------------------------------------------------

    def start_agent(self) -> None:
        """As on a real node: a second agent exits while one runs."""
        if self.is_up and not self.agents:
            self.agents.append(SimAgent(self._world, self))

    def clone_agent(self) -> None:
        """The same disk, running twice."""
        self.agents.append(SimAgent(self._world, self))

    # --- what happens to it --------------------------------------------------------------------------------------------

    def power_off(self) -> None:
        self.tunnel = None
        self.broken.set()
        for agent in tuple(self.agents):
            agent.kill()

    def reboot(self, seconds: float) -> None:
        self.boot += 1
        self.is_booting = True
        self.power_off()

        def up() -> None:
            self.is_booting = False

        self._world.network.after(seconds, up)

    def cut_off(self, seconds: float) -> None:
        """No packet gets in or out for so long."""
        self.is_cut_off = True
        if seconds > _TCP_PATIENCE_S:
            self.broken.set()
        for agent in self.agents:
            agent.cut(True)

        self._world.network.after(seconds, self.connect)

    def connect(self) -> None:
        self.is_cut_off = False
        for agent in self.agents:
            agent.cut(False)

    def dial(self, hear: Callable[[object], None], lost: Callable[[], None]) -> Connection | None:
        """A connection to the gateway, through the tunnel of whoever holds one; None when there is no way."""
        process = self.tunnel
        if self.is_cut_off or process is None or process.dead or process.listener is None:
            return None
        connection = Connection(self._world.loop, process, process.listener.accept, hear, lost)
        process.connections.append(connection)
        return connection


class Hosts:
    def __init__(self, world: World) -> None:
        self._world = world
        self._hosts: dict[str, Host] = {}
        world.cloud.on_gone = self._stopped

    def host(self, instance_id: str) -> Host:
        found = self._hosts.get(instance_id)
        if found is None:
            found = self._hosts[instance_id] = Host(self._world, instance_id)
        return found

    def running(self) -> list[Host]:
        """Hosts with an agent on them."""
        return [host for host in self._hosts.values() if host.agents]

    def heal(self) -> None:
        """What is cut off for a while is so no more; what is lost for ever stays lost."""
        for host in self._hosts.values():
            if host.is_cut_off and not self._world.cloud.machines[host.instance_id].unreachable:
                host.connect()

    def operator_died(self, process: Process) -> None:
        for host in self._hosts.values():
            if host.tunnel is process:
                host.tunnel = None
        for connection in process.connections:
            connection.peer_died()

    def _stopped(self, instance_id: str) -> None:
        host = self._hosts.get(instance_id)
        if host is not None:
            host.power_off()
