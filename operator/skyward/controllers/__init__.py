"""Reconcilers: they observe, ask a planner, record the intent, act, and observe again. `build` wires them to their sources."""

from skyward.controllers.build import build
from skyward.controllers.deps import Deps, Durations

__all__ = ["Deps", "Durations", "build"]
