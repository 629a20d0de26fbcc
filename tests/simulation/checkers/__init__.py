"""Invariants, watched after every commit and every effect in the cloud, by code that shares nothing with what it watches."""

from tests.simulation.checkers.base import Checker, Violation

__all__ = ["Checker", "Violation"]
