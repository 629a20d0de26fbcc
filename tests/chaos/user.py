"""The actor that uses skyctl, while the operator may be dead, deaf or just coming up: its calls may fail, and that is well."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.children import end, spawn
from tests.chaos.place import Place, append
from tests.chaos.pools import CHURN, PoolPlan
from tests.chaos.stage import Actor

_PAUSE_S = (3.0, 8.0)
_PATIENCE_S = 10.0
_SKYCTL = Path(sys.executable).with_name("skyctl")


def known_verbs() -> frozenset[str]:
    """The verbs of this skyctl."""
    text = subprocess.run([_SKYCTL, "--help"], capture_output=True, text=True, check=True).stdout
    return frozenset(line.split()[0] for line in text.splitlines() if line.startswith("  ") and line.strip())


class User:
    def __init__(self, place: Place, pools: Sequence[PoolPlan], rng: random.Random, verbs: frozenset[str]) -> None:
        self._place = place
        self._pools = pools
        self._random = rng
        deeds: dict[str, Callable[[], list[str]]] = {
            "scale": self._scale,
            "delete": self._delete,
            "cordon": lambda: self._on_node("cordon"),
            "uncordon": lambda: self._on_node("uncordon"),
            "drain": lambda: self._on_node("drain"),
            "annotate": self._annotate,
            "get": lambda: ["get", "pools,nodes"],
        }
        self._deeds = [deed for verb, deed in deeds.items() if verb in verbs]

    def act(self) -> Actor:
        while True:
            yield self._random.uniform(*_PAUSE_S)
            words = self._random.choice(self._deeds)()
            if words:
                yield from self._skyctl(*words)

    def _skyctl(self, *words: str) -> Actor:
        argv: list[str | Path] = [_SKYCTL, "--kubeconfig", self._place.config, *words]
        process = spawn(argv, log=self._place.root / "skyctl.log", cwd=self._place.root)
        try:
            for _ in range(int(_PATIENCE_S / 0.2)):
                if process.poll() is not None:
                    break
                yield 0.2
        finally:
            end(process)
            append(self._place.actions, "user", words=list(words), status=process.returncode)

    def _scale(self) -> list[str]:
        pool = self._random.choice([pool for pool in self._pools if pool.most > 1])
        return ["scale", "pool", pool.name, "--nodes", str(self._random.randint(1, pool.most))]

    def _delete(self) -> list[str]:
        if self._random.random() < 0.3:
            return ["delete", "pool", CHURN, "--no-wait"]
        words = self._on_node("delete")
        return [*words, "--no-wait"] if words else []

    def _on_node(self, verb: str) -> list[str]:
        nodes = self._nodes()
        kind = ["node"] if verb == "delete" else []
        return [verb, *kind, self._random.choice(nodes)] if nodes else []

    def _annotate(self) -> list[str]:
        pool = self._random.choice(self._pools)
        return ["annotate", "pool", pool.name, f"example.com/chaos={self._random.random():.3f}", "--overwrite"]

    def _nodes(self) -> list[str]:
        """Names as the machines know them: nobody needs to be asked, who may not answer."""
        files = sorted(self._place.nodes.glob("*/home/.skyward/agent.json"))
        return sorted(filter(None, (_name(file) for file in files)))


def _name(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["name"])
    except (OSError, ValueError, KeyError):
        return ""
