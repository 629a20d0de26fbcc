"""Skyward as between hosts: neither client nor nodes see the operator's directory, so every payload goes through sockets."""

from __future__ import annotations

from pathlib import Path

from hack.benches.peers.figures import Note, payloads, start
from hack.benches.peers.ours import Skyward

_PROOF = Path("payloads") / "shared" / "proof"
"""What a peer must find in the directory that the operator names, to believe that it is the same one."""


class SkywardApart(Skyward):
    def started(self) -> None:
        (self.operator.state / _PROOF).unlink()


def measure_it(directory: Path, note: Note) -> None:
    system = SkywardApart(directory)
    try:
        start(system, note)
        payloads(system, note)
    finally:
        system.close()
