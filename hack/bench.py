"""The command behind hack/bench. Figures are printed, never asserted."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator"), str(ROOT / "agent")]

from hack.benches.agent import agent  # noqa: E402
from hack.benches.crowd import agents  # noqa: E402
from hack.benches.dispatch import dispatch  # noqa: E402
from hack.benches.ready import ready  # noqa: E402
from hack.benches.reconcile import reconcile  # noqa: E402
from hack.benches.restart import restart  # noqa: E402
from hack.benches.scale import scale  # noqa: E402
from hack.benches.trace import trace  # noqa: E402

BENCHES = {
    "agent": agent,
    "agents": agents,
    "dispatch": dispatch,
    "ready": ready,
    "scale": scale,
    "reconcile": reconcile,
    "restart": restart,
    "trace": trace,
}


def main() -> int:
    name, arguments = sys.argv[1], sys.argv[2:]
    figures = BENCHES[name](arguments)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"bench": name, "machine": machine, **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
